"""The whole command ``gnt-instance start``, fake hypervisor, with its live log.

    .venv/bin/python -m benchmarks.start_command [--runs 20]

The reference is the bare interpreter: ``python -I -c pass``.
"""

from __future__ import annotations

import sys

from benchmarks.figures import Figure, command, in_turn, run, spread
from benchmarks.local_cluster import cluster

TARGET = 80.0


def measure(runs: int) -> list[Figure]:
    """Another instance each time, so that each has to be started."""
    with cluster(2 * runs + 10, up=False) as where:
        numbers = iter(range(1, 2 * runs + 10))

        def start() -> float:
            name = f"web{next(numbers)}.gantry.test"
            return command([where.program("gnt-instance"), "start", name], where.environment)

        bare = [sys.executable, "-I", "-c", "pass"]
        started, interpreter = in_turn(runs, start, lambda: command(bare))
    value, best = spread(started)
    alone, least = spread(interpreter)
    return [
        Figure(
            what="`gnt-instance start`, fake hypervisor, whole command, with live log",
            value=value,
            best=best,
            unit="ms",
            target=TARGET,
            reference=f"bare interpreter {alone:.0f} ms (best {least:.0f})",
        )
    ]


if __name__ == "__main__":
    run(measure, __doc__, 20)
