"""The master is killed: how long until the next job is accepted. etcd, a lease of 2 s.

    .venv/bin/python -m benchmarks.takeover [--runs 50]

Three nodes of a local cluster, all of them candidates. A client on a node that is not the
master's asks without a pause until its job is taken. The killed master comes back as one that
waits. The figure is the 99th percentile, which of 50 runs is the longest one.
"""

from __future__ import annotations

import math
import os
import signal
import statistics
import time
from pathlib import Path

from benchmarks.figures import Figure, command, run
from benchmarks.local_cluster import LocalCluster, local, local_cluster

from gantry.client.connection import Connection
from gantry.client.errors import ApiError, ClientError
from gantry.client.jobs import submission
from gantry.local import processes
from gantry.local.layout import Role

TARGET = 4.0
LEASE = 2
PATIENCE = 60.0
JOB = {"OP_ID": "OP_TEST_DELAY", "duration": 0, "on_master": False}


def master_of(where: LocalCluster, root: Path) -> int:
    """The place of the master's node among the cluster's, as the node at ``root`` knows it."""
    name = (root / "var/lib/ganeti/ssconf_master_node").read_text().strip()
    return [node.name for node in where.about.nodes].index(name)


def accepted(root: Path) -> None:
    """Ask through the node at ``root`` until a job is taken."""
    body = submission([JOB])
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            Connection(str(root)).post("jobs", body)
            return
        except (ClientError, ApiError):
            assert time.monotonic() < deadline, "no master took over"
            time.sleep(0.01)


def once(where: LocalCluster, asking: int) -> float:
    """Seconds from the end of the master to the next accepted job."""
    root = where.layout.root(where.about.nodes[asking])
    accepted(root)
    master = master_of(where, root)
    other = (master + 1) % len(where.about.nodes)
    found = processes.find(where.layout, where.about.nodes[master], Role.MASTER)
    assert found is not None, "the master does not run"
    begun = time.perf_counter()
    os.kill(found.pid, signal.SIGKILL)
    accepted(where.layout.root(where.about.nodes[other]))
    return time.perf_counter() - begun


def measure(runs: int) -> list[Figure]:
    """The longest but for one in a hundred."""
    taken = []
    with local_cluster("--store", "etcd") as where:
        modify = ["modify", f"--master-lease={LEASE}"]
        command([where.program("gnt-cluster"), *modify], where.environment)
        for number in range(runs + 1):
            taken.append(once(where, number % len(where.about.nodes)))
            local(where.layout.directory, "up")
    # The first master still had the lease that a cluster begins with.
    counted = sorted(taken[1:])
    return [
        Figure(
            what=f"master killed to next accepted job, etcd, lease {LEASE} s: p99 of {runs}",
            value=counted[math.ceil(0.99 * len(counted)) - 1],
            best=counted[0],
            unit="s",
            target=TARGET,
            remark=f"median {statistics.median(counted):.2f} s",
        )
    ]


if __name__ == "__main__":
    run(measure, __doc__, 50)
