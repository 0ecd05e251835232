"""The whole command ``gnt-hook history --instance X`` over an index of 100,000 runs, real master.

    .venv/bin/python -m benchmarks.hook_history [--runs 15]

Each of 1,000 instances has 100 runs, on three nodes, of twenty scripts. The reference is the
bare interpreter: ``python -I -c pass``.
"""

from __future__ import annotations

import asyncio
import sys
import time

from benchmarks.figures import Figure, command, in_turn, run, spread
from benchmarks.local_cluster import LocalCluster, cluster

from gantry.history.hook_runs import open_hook_runs
from gantry.main.assembly import HOOK_INDEX
from gantry.model.hook_orders import ScriptResult, ScriptStatus
from gantry.model.hook_runs import HookRun

RUNS = 100_000
INSTANCES = 1_000
TARGET = 100.0


def record(number: int, now: float) -> HookRun:
    """One run of many."""
    script, failed = f"{number % 20 + 10}-script", number % 50 == 0
    return HookRun(
        id=f"{number:012x}",
        operation="instance-start",
        opcode="OP_INSTANCE_STARTUP",
        kind="INSTANCE",
        object=f"web{number % INSTANCES}.gantry.test",
        job=number // 6 + 1,
        run_id=f"run-{number // 6}",
        phase=("pre", "post")[number % 2],
        node=f"node{number % 3 + 1}.gantry.test",
        result=ScriptResult(
            directory=f"instance-start-{('pre', 'post')[number % 2]}.d",
            script=script,
            status=ScriptStatus.FAILED if failed else ScriptStatus.SUCCEEDED,
            exit_status=int(failed),
            started=now - RUNS + number,
            duration=0.01,
            version=1,
            digest=f"{number % 20:064x}",
            run=f"{number:012x}",
        ),
    )


async def fill(where: LocalCluster) -> None:
    """Put the runs into the master's index, as a master would that hears of them."""
    now = time.time()
    index = await open_hook_runs(where.root / HOOK_INDEX)
    for start in range(0, RUNS, 5_000):
        await index.add([record(number, now) for number in range(start, start + 5_000)])
    await index.close()


def measure(runs: int) -> list[Figure]:
    """One instance's runs; and the last that failed in the whole cluster."""
    with cluster(0) as where:
        asyncio.run(fill(where))
        return [
            asked(where, runs, "--instance X", "--instance", "web7"),
            asked(where, runs, "--failed --since 1d", "--failed", "--since", "1d"),
        ]


def asked(where: LocalCluster, runs: int, name: str, *choice: str) -> Figure:
    """The figure of one question."""
    argv = [where.program("gnt-hook"), "history", *choice]
    bare = [sys.executable, "-I", "-c", "pass"]
    whole, interpreter = in_turn(
        runs, lambda: command(argv, where.environment), lambda: command(bare)
    )
    value, best = spread(whole)
    alone, least = spread(interpreter)
    return Figure(
        what=f"`gnt-hook history {name}`, {RUNS:,} runs, whole command",
        value=value,
        best=best,
        unit="ms",
        target=TARGET,
        reference=f"bare interpreter {alone:.0f} ms (best {least:.0f})",
    )


if __name__ == "__main__":
    run(measure, __doc__, 15)
