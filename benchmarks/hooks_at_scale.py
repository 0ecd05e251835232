"""One phase of hooks on a hundred simulated nodes with ten scripts each, against bare spawning.

    .venv/bin/python -m benchmarks.hooks_at_scale [--runs 5]

The phase is that after ``gnt-cluster verify``, which runs on all nodes: the master gives a hundred
orders, the agents (in four processes) really start a thousand scripts, and record and report each.
The operation with no script on any node is measured too and taken off. The reference are two
processes that spawn and wait for five hundred of the same scripts each, with the same environment,
and do nothing else.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import Figure, in_turn, run, spread
from benchmarks.hooks import FRESH
from benchmarks.local_cluster import Client, LocalCluster, cluster

NODES = 100
SCRIPTS = 10
PROCESSES = 2
TARGET = 1.5
DIRECTORY = "etc/ganeti/hooks/cluster-verify-post.d"
_SPAWN = """
import json, os, sys
scripts, environment = json.load(sys.stdin)
for script in scripts:
    pid = os.posix_spawn(script, [script], environment)
    assert os.waitpid(pid, 0)[1] == 0
"""


def scripts(where: LocalCluster, text: str) -> list[Path]:
    """Put them onto all simulated nodes; all say the same."""
    made = []
    for node in where.about.simulated:
        directory = where.layout.root(node) / DIRECTORY
        directory.mkdir(parents=True, exist_ok=True)
        for number in range(SCRIPTS):
            script = directory / f"{number:02d}-nothing"
            script.write_text(f"#!/bin/sh\n{text}\n")
            script.chmod(0o755)
            made.append(script)
    return made


def bare(found: list[Path], environment: dict[str, str]) -> float:
    """Seconds of spawning, by two processes; their own start does not count."""
    spawning = [
        subprocess.Popen([sys.executable, "-I", "-S", "-c", _SPAWN], stdin=subprocess.PIPE)
        for _ in range(PROCESSES)
    ]
    time.sleep(0.2)
    began = time.perf_counter()
    for number, process in enumerate(spawning):
        assert process.stdin is not None
        part = [str(script) for script in found[number::PROCESSES]]
        process.stdin.write(json.dumps([part, environment]).encode())
        process.stdin.close()
    assert [process.wait() for process in spawning] == [0] * PROCESSES
    return time.perf_counter() - began


def verified(where: LocalCluster, turn: int) -> float:
    """Seconds of one verification of the cluster, all of its scripts included."""

    async def work() -> float:
        client = await Client.open(where)
        began = time.perf_counter()
        await client.job(
            {"OP_ID": "OP_CLUSTER_VERIFY"},
            f"verify-{os.getpid()}-{turn:06d}",
        )
        took = time.perf_counter() - began
        client.close()
        return took

    return asyncio.run(work())


def measure(runs: int) -> list[Figure]:
    """One row."""
    with cluster(nodes=1, simulated=NODES) as where:
        turns = iter(range(10_000))
        without = [verified(where, next(turns)) for _ in range(runs + 1)][1:]
        scripts(where, 'tr "\\0" "\\n" < /proc/$$/environ > "$GANTRY_ROOT/ran-${0##*/}"')
        verified(where, next(turns))
        ran = list(where.layout.directory.glob("sim*/ran-*"))
        assert len(ran) == NODES * SCRIPTS, f"{len(ran)} scripts ran"
        told = dict(line.split("=", 1) for line in ran[0].read_text().splitlines())
        found = scripts(where, "exit 0")
        time.sleep(FRESH)
        verified(where, next(turns))
        taken, alone = in_turn(
            runs, lambda: verified(where, next(turns)), lambda: bare(found, told)
        )
    empty, _ = spread(without)
    phase = [took - empty for took in taken]
    reference, least = spread(alone)
    value, best = spread(phase)
    count = NODES * SCRIPTS
    return [
        Figure(
            what=f"a phase on {NODES} nodes with {SCRIPTS} scripts each, against bare spawning",
            value=value / reference,
            best=best / least,
            unit="×",
            target=TARGET,
            reference=f"{PROCESSES} processes that spawn {count:,}: {1000 * reference:.0f} ms",
            remark=f"the phase {1000 * value:.0f} ms; the operation without scripts "
            f"{1000 * empty:.0f} ms",
        )
    ]


if __name__ == "__main__":
    run(measure, __doc__, 5)
