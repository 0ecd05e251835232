"""A phase of 200 scripts through the hook runner, against the bare loop of a shell.

    .venv/bin/python -m benchmarks.hooks [--runs 7]

Each script is ``#!/bin/sh`` and ``exit 0``. The shell's loop is dash's ``for``; the runner gives
each script a session, two output files, its own environment, a context and a deadline, hashes
its content, notes each process in the agent's memory and each run in its ledger: all that an
agent does.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure, run

from gantry.agent.hooks import DIRECTORY, run_below
from gantry.agent.ledger import Ledger
from gantry.agent.memory import Memory
from gantry.host.daemon import Identity
from gantry.model.orders import HookDirectory, HooksRun, ScriptStatus

TARGET = 1.3
FRESH = 2.5
"""Seconds after which an agent takes a script's content for what it was: a site's are older."""
SCRIPTS = 200
NAME = "instance-start-pre.d"
ENVIRONMENT = {"PATH": "/sbin:/bin:/usr/sbin:/usr/bin"} | {
    f"GANETI_INSTANCE_VARIABLE_{number}": "value" for number in range(45)
}


def make(base: Path, count: int) -> Path:
    directory = base / NAME
    directory.mkdir(parents=True)
    for number in range(count):
        script = directory / f"{number:03d}-nothing"
        script.write_text("#!/bin/sh\nexit 0\n")
        script.chmod(0o755)
    return directory


def bare_loop(directory: Path) -> float:
    began = time.perf_counter()
    subprocess.run(
        ["/bin/dash", "-c", 'for one in "$0"/*; do "$one" || exit 1; done', str(directory)],
        env=ENVIRONMENT,
        check=True,
    )
    return time.perf_counter() - began


async def through_agent(root: Path, ledger: Ledger, memory: Memory, count: int) -> float:
    order = HooksRun(
        directories=(HookDirectory(name=NAME, version=2),),
        environments={"2": ENVIRONMENT},
        main_version=2,
        job=1,
        run_id="benchmark",
        attempt=1,
    )

    def started(which: Identity) -> None:
        memory.script_started("key", which.pid, which.started)

    began = time.perf_counter()
    ran = await run_below(root, order, ledger, started)
    took = time.perf_counter() - began
    assert ran.kept is not None
    assert ran.kept.last - ran.kept.before == count
    assert [one.status for one in ran.results] == [ScriptStatus.SUCCEEDED] * count
    return took


def in_both(count: int, runs: int) -> tuple[list[float], list[float]]:
    """Both kinds in turn, so that a noisy moment meets both; the first of each is for warmth."""
    loops, runner = [], []
    with tempfile.TemporaryDirectory() as path:
        root = Path(path)
        directory = make(root / DIRECTORY, count)
        time.sleep(FRESH)
        # Open from the first run on, as in an agent.
        memory, ledger = Memory(root / "agent.db"), Ledger(root, "node1")
        for _ in range(runs + 1):
            loops.append(bare_loop(directory))
            runner.append(asyncio.run(through_agent(root, ledger, memory, count)))
        memory.close()
        ledger.close()
    return loops[1:], runner[1:]


def measure(runs: int) -> list[Figure]:
    """The ratio of the medians."""
    os.umask(0o077)
    loops, runner = in_both(SCRIPTS, runs)
    loop, ours = statistics.median(loops), statistics.median(runner)
    best = min(mine / bare for mine, bare in zip(runner, loops, strict=True))
    return [
        Figure(
            what=f"a phase of {SCRIPTS} `sh` scripts against the bare dash loop",
            value=ours / loop,
            best=best,
            unit="×",
            target=TARGET,
            reference=f"dash loop {loop * 1000:.0f} ms, hook runner {ours * 1000:.0f} ms",
        )
    ]


if __name__ == "__main__":
    run(measure, __doc__, 7)
