"""The whole command ``gnt-instance list`` with 1,000 and 10,000 instances, real master and agents.

    .venv/bin/python -m benchmarks.list_instances [--runs 15]

The reference is the bare interpreter: ``python -I -c pass``.
"""

from __future__ import annotations

import sys

from benchmarks.figures import Figure, command, in_turn, run, spread
from benchmarks.local_cluster import LocalCluster, cluster

TARGETS = {1_000: 45.0, 10_000: 120.0}


def listing(where: LocalCluster, count: int, runs: int) -> Figure:
    """The figure of a cluster with ``count`` instances."""
    argv = [where.program("gnt-instance"), "list"]
    bare = [sys.executable, "-I", "-c", "pass"]
    listed, interpreter = in_turn(
        runs, lambda: command(argv, where.environment), lambda: command(bare)
    )
    value, best = spread(listed)
    alone, least = spread(interpreter)
    return Figure(
        what=f"`gnt-instance list`, {count:,} instances, whole command",
        value=value,
        best=best,
        unit="ms",
        target=TARGETS[count],
        reference=f"bare interpreter {alone:.0f} ms (best {least:.0f})",
    )


def measure(runs: int) -> list[Figure]:
    """Both sizes, each on a cluster of its own."""
    found = []
    for count in TARGETS:
        with cluster(count) as where:
            found.append(listing(where, count, runs))
    return found


if __name__ == "__main__":
    run(measure, __doc__, 15)
