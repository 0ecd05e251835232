"""Resident memory of agents and of a master with 1,000 instances, after some work.

    .venv/bin/python -m benchmarks.memory [--runs 3]

The cluster lists, verifies, and starts and stops guests before it is looked at. The reference
is a bare interpreter that waits.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys

from benchmarks.figures import Figure, command, run
from benchmarks.local_cluster import LocalCluster, cluster, resident
from benchmarks.start_stop import together

AGENT = 45.0
MASTER = 80.0


def bare() -> float:
    """MiB of an interpreter that has loaded nothing."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    found = resident(process.pid)
    process.communicate(b"\n")
    return found


def work(where: LocalCluster) -> None:
    """What a cluster does in its daily life."""
    for argv in (["gnt-instance", "list"], ["gnt-cluster", "verify"], ["gnt-node", "list"]):
        command([where.program(argv[0]), *argv[1:]], where.environment)
    asyncio.run(together(where, 400, "work"))


def measure(runs: int) -> list[Figure]:
    """The agent that holds most, and the master; the most of all runs."""
    agents, masters = [], []
    for _ in range(runs):
        with cluster(1_000, hypervisors="kvm,fake", up=False) as where:
            work(where)
            agents.append(max(resident(pid) for pid in where.agents))
            masters.append(resident(where.master))
    reference = f"bare interpreter {bare():.0f} MiB"
    return [
        Figure(
            what="resident memory of an agent",
            value=statistics.median(agents),
            best=min(agents),
            unit="MiB",
            target=AGENT,
            reference=reference,
            remark="the largest of three, drivers kvm and fake, 333 instances each",
        ),
        Figure(
            what="resident memory of the master, 1,000 instances",
            value=statistics.median(masters),
            best=min(masters),
            unit="MiB",
            target=MASTER,
            reference=reference,
            remark="after 400 operations, listings and a verification",
        ),
    ]


if __name__ == "__main__":
    run(measure, __doc__, 3)
