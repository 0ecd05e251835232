"""Starting and stopping guests of the fake hypervisor through real agents, and one at a time.

    .venv/bin/python -m benchmarks.start_stop [--runs 5]

Twenty clients start and stop a guest each, over the API's socket; each waits for its job. Then
one client does the same alone: what it waits for an operation is all that the master and the
agents do about it. Awaited commits are counted by an engine in this process, for from outside
it cannot be seen which commits a job waits for. The reference of the rate is a bare apsw loop
with one record a commit, as durable; that of one operation is a job that does nothing.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from benchmarks.engine import awaited_commits
from benchmarks.figures import Figure, run, spread
from benchmarks.local_cluster import Client, LocalCluster, cluster, cpu
from benchmarks.store import bare_loop

RATE = 250.0
ALONE = 10.0
CLIENTS = 20
OPERATIONS = 1_000
EFFECTS = 1
"""Of a start, and of a stop."""


class Run(msgspec.Struct, frozen=True):
    """Of one run: operations a second; milliseconds of CPU an operation."""

    rate: float
    master: float
    agents: float


def operation(number: int, turn: int) -> dict[str, Any]:
    """The ``turn``-th operation on instance ``number``: start, stop, start …"""
    code = "OP_INSTANCE_SHUTDOWN" if turn % 2 else "OP_INSTANCE_STARTUP"
    return {"OP_ID": code, "instance_name": f"web{number}.gantry.test"}


async def together(where: LocalCluster, count: int, name: str) -> Run:
    """``count`` operations by all clients."""
    clients = [await Client.open(where) for _ in range(CLIENTS)]

    async def work(number: int, client: Client) -> None:
        for turn in range(count // CLIENTS):
            request = f"{name}-{number:04d}-{turn:08d}"
            await client.job(operation(number, turn), request)

    pids = [where.master, *where.agents]
    before, began = [cpu(pid) for pid in pids], time.perf_counter()
    await asyncio.gather(*(work(number, client) for number, client in enumerate(clients, 1)))
    took = time.perf_counter() - began
    spent = [1000 * (cpu(pid) - was) / count for pid, was in zip(pids, before, strict=True)]
    for client in clients:
        client.close()
    return Run(count / took, spent[0], sum(spent[1:]))


async def alone(where: LocalCluster, runs: int) -> tuple[list[float], list[float]]:
    """Milliseconds of operations one at a time, and of jobs that do nothing."""
    client = await Client.open(where)
    taken: list[float] = []
    nothing: list[float] = []
    for turn in range(runs):
        for results, op in (
            (taken, operation(1, turn)),
            (nothing, {"OP_ID": "OP_TEST_DUMMY"}),
        ):
            began = time.perf_counter()
            await client.job(op, f"alone-{op['OP_ID']}-{turn:06d}")
            results.append(1000 * (time.perf_counter() - began))
    client.close()
    return taken, nothing


def measure(runs: int) -> list[Figure]:
    """All rows."""
    found: list[Run] = []
    with cluster(CLIENTS, up=False) as where, tempfile.TemporaryDirectory() as directory:
        asyncio.run(together(where, OPERATIONS // 2, "warm"))
        for number in range(runs):
            found.append(asyncio.run(together(where, OPERATIONS, f"run{number}")))
        bare = bare_loop(Path(directory) / "bare", 1, OPERATIONS)
        taken, nothing = asyncio.run(alone(where, 100))
    found.sort(key=lambda one: one.rate)
    middle = found[len(found) // 2]
    value, best = spread(taken)
    noop, _ = spread(nothing)
    return [
        Figure(
            what=f"start + stop, fake hypervisor, through agents, {CLIENTS} at a time",
            value=middle.rate,
            best=found[-1].rate,
            unit="operations/s",
            target=RATE,
            at_least=True,
            reference=f"bare apsw loop {bare:,.0f} commits/s",
            remark=f"CPU an operation: master {middle.master:.1f} ms, "
            f"three agents {middle.agents:.1f} ms",
        ),
        Figure(
            what=f"… awaited commits, {EFFECTS} effect",
            value=asyncio.run(awaited_commits(400, CLIENTS)),
            unit="commits",
            target=EFFECTS + 1,
        ),
        Figure(
            what="one operation, fake hypervisor, one at a time",
            value=value,
            best=best,
            unit="ms",
            target=ALONE,
            reference=f"no-op job {noop:.1f} ms",
            remark="over the socket, agents included",
        ),
    ]


if __name__ == "__main__":
    run(measure, __doc__, 5)
