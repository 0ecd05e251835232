"""A node cut off from the network and back: how soon listings say so, and are right again.

    .venv/bin/python -m benchmarks.fence [--runs 5]

Three machines in network namespaces of their own (needs root); the cable of one is pulled out of
the bridge between them, so that not even a refusal comes back. Listings are asked for ten times
a second over the master's socket. Cut and healing come at random moments of the heartbeat and of
the attempts to reconnect; the worst of the runs counts.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

from benchmarks.figures import Figure, run, spread
from tests.support.namespaces import Machine, machines

from gantry.client.connection import Connection

NOTICED = 12.0
RIGHT = 2.0
WEB = "web1.example.com"
_PATIENCE = 60.0
_LOOK = 0.1


def build(first: Machine, others: list[Machine]) -> None:
    """A cluster of all of them, with a guest on the last one."""
    first.must(
        "gnt-cluster", "init", "--node-name", first.name, "--primary-ip", first.address,
        "--enabled-hypervisors", "fake", "--no-name-check", "--no-ip-check", "cluster.example.com",
    )  # fmt: skip
    first.start("agent")
    first.start("master")
    for machine in others:
        token = first.must("gantry", "token", machine.name)
        machine.must("gantry", "join", "--address", machine.address, stdin=token)
        machine.start("agent")
        first.must("gnt-node", "add", machine.name)
    first.must(
        "gnt-instance", "add", "-t", "diskless", "-o", "noop", "-n", others[-1].name,
        "-B", "memory=32M", "--no-nics", WEB,
    )  # fmt: skip


def status(master: Machine) -> str:
    """What a listing shows of the guest."""
    rows = Connection(str(master.root)).get("query/instance", fields="status", names=WEB)
    return str(rows["rows"][0][0])


def until(right: Callable[[], bool]) -> float:
    """Seconds until it is so."""
    began = time.monotonic()
    while not right():
        assert time.monotonic() - began < _PATIENCE, "it never came to that"
        time.sleep(_LOOK)
    return time.monotonic() - began


def measure(runs: int) -> list[Figure]:
    """Two rows."""
    chance = random.Random(1)
    noticed, right = [], []
    with machines(3) as (first, *others):
        build(first, others)
        cut = others[-1]
        for _ in range(runs):
            until(lambda: status(first) == "running")
            time.sleep(chance.uniform(0, 3))
            cut.cut()
            noticed.append(until(lambda: status(first) == "ERROR_nodedown"))
            time.sleep(chance.uniform(0, 20))
            cut.heal()
            right.append(until(lambda: status(first) == "running"))
    return [
        Figure(
            what="a node that is cut off, until listings show it, worst run",
            value=max(noticed),
            best=min(noticed),
            unit="s",
            target=NOTICED,
            remark=f"median {spread(noticed)[0]:.1f} s; heartbeats come every 3 s",
        ),
        Figure(
            what="the cut healed, until its live states are right again, worst run",
            value=max(right),
            best=min(right),
            unit="s",
            target=RIGHT,
            remark=f"median {spread(right)[0]:.1f} s",
        ),
    ]


if __name__ == "__main__":
    assert os.geteuid() == 0, "network namespaces need root"
    run(measure, __doc__, 5)
