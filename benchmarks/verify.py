"""The whole command ``gnt-cluster verify``: three nodes, 1,000 instances.

    .venv/bin/python -m benchmarks.verify [--runs 10]

The reference is the bare interpreter: ``python -I -c pass``.
"""

from __future__ import annotations

import sys

from benchmarks.figures import Figure, command, in_turn, run, spread
from benchmarks.local_cluster import cluster

TARGET = 400.0


def measure(runs: int) -> list[Figure]:
    """One figure."""
    with cluster(1_000) as where:
        argv = [where.program("gnt-cluster"), "verify"]
        bare = [sys.executable, "-I", "-c", "pass"]
        verified, interpreter = in_turn(
            runs, lambda: command(argv, where.environment), lambda: command(bare)
        )
    value, best = spread(verified)
    alone, least = spread(interpreter)
    return [
        Figure(
            what="`gnt-cluster verify`, 3 nodes, 1,000 instances, whole command",
            value=value,
            best=best,
            unit="ms",
            target=TARGET,
            reference=f"bare interpreter {alone:.0f} ms (best {least:.0f})",
        )
    ]


if __name__ == "__main__":
    run(measure, __doc__, 10)
