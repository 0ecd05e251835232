"""The whole command ``gnt-cluster master-failover``, old master alive, on both stores.

.venv/bin/python -m benchmarks.master_failover [--runs 10]
"""

from __future__ import annotations

import statistics

from benchmarks.figures import Figure, command, run
from benchmarks.local_cluster import LocalCluster, local_cluster

TARGET = 2.0


def once(where: LocalCluster, target: int) -> float:
    """Seconds of moving the master to that node, typed there."""
    root = where.layout.root(where.about.nodes[target])
    environment = {**where.environment, "GANTRY_ROOT": str(root)}
    argv = [str(root / "bin/gnt-cluster"), "master-failover", "--yes-do-it"]
    return command(argv, environment) / 1000


def measure(runs: int) -> list[Figure]:
    """On a state in a file, which is copied, and in etcd, where the lease is given up."""
    figures = []
    for store in ("sqlite", "etcd"):
        with local_cluster("--store", store) as where:
            count = len(where.about.nodes)
            taken = [once(where, number % count) for number in range(1, runs + 2)][1:]
        figures.append(
            Figure(
                what=f"`gnt-cluster master-failover`, {store}, whole command",
                value=statistics.median(taken),
                best=min(taken),
                unit="s",
                target=TARGET,
                remark=f"longest {max(taken):.2f} s",
            )
        )
    return figures


if __name__ == "__main__":
    run(measure, __doc__, 10)
