"""A hundred simulated nodes and ten thousand instances: verify, the master's memory, idle CPU.

    .venv/bin/python -m benchmarks.scale [--runs 5]

All event streams are open; half of the instances are up. CPU is counted over 30 seconds in which
nobody asks for anything. The reference of verify is the bare interpreter.
"""

from __future__ import annotations

import sys

from benchmarks.figures import Figure, command, in_turn, run, spread
from benchmarks.local_cluster import cluster, idle, resident

NODES = 100
INSTANCES = 10_000
VERIFY = 3_000.0
MEMORY = 180.0
IDLE = 3.0


def measure(runs: int) -> list[Figure]:
    """All rows; memory is looked at after the commands."""
    with cluster(INSTANCES, nodes=1, simulated=NODES) as where:
        argv = [where.program("gnt-cluster"), "verify"]
        bare = [sys.executable, "-I", "-c", "pass"]
        verified, interpreter = in_turn(
            runs, lambda: command(argv, where.environment), lambda: command(bare)
        )
        command([where.program("gnt-instance"), "list"], where.environment)
        memory = resident(where.master)
        cpu = idle(where, 30.0)
    value, best = spread(verified)
    alone, least = spread(interpreter)
    size = f"{NODES} simulated nodes, {INSTANCES:,} instances"
    return [
        Figure(
            what=f"`gnt-cluster verify`, {size}, whole command",
            value=value,
            best=best,
            unit="ms",
            target=VERIFY,
            reference=f"bare interpreter {alone:.0f} ms (best {least:.0f})",
        ),
        Figure(
            what=f"resident memory of the master, {size}",
            value=memory,
            unit="MiB",
            target=MEMORY,
            remark="after listings and verifications",
        ),
        Figure(
            what=f"CPU of an idle master, {size}",
            value=cpu,
            unit="% of a core",
            target=IDLE,
            remark="over 30 s, all event streams open",
        ),
    ]


if __name__ == "__main__":
    run(measure, __doc__, 5)
