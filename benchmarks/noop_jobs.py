"""Durable jobs that do nothing, over the socket of a real master's API, 20 clients.

    .venv/bin/python -m benchmarks.noop_jobs [--runs 5]

Each client submits a job and waits for its end before it submits the next one. The reference
is a bare apsw loop that writes one record a commit, as durably, on the same disk.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import msgspec
from benchmarks.figures import Figure, run
from benchmarks.local_cluster import Client, LocalCluster, cluster, cpu
from benchmarks.store import bare_loop

TARGET = 2_000.0
COMMITS = 2.0
CLIENTS = 20
JOBS = 4_000
REFERENCE = 2_000


class Run(msgspec.Struct, frozen=True):
    """Of one run: jobs a second, commits a job, milliseconds of the master's CPU a job."""

    rate: float
    commits: float
    cpu: float


async def jobs(where: LocalCluster, count: int, name: str) -> Run:
    """``count`` jobs by all clients."""
    left = iter(range(count))
    clients = [await Client.open(where) for _ in range(CLIENTS)]

    async def work(client: Client) -> None:
        for number in left:
            await client.job({"OP_ID": "OP_TEST_DUMMY"}, f"{name}-{number:012d}")

    revision, computed, began = where.revision, cpu(where.master), time.perf_counter()
    await asyncio.gather(*(work(client) for client in clients))
    took = time.perf_counter() - began
    for client in clients:
        client.close()
    return Run(
        count / took,
        (where.revision - revision) / count,
        (cpu(where.master) - computed) / count * 1000,
    )


def measure(runs: int) -> list[Figure]:
    """The rate, and the commits. Each run has a master of its own: ended jobs stay in its queue."""
    found, bare = [], []
    for number in range(runs):
        with cluster() as where, tempfile.TemporaryDirectory() as directory:
            asyncio.run(jobs(where, JOBS // 4, f"warm{number}"))
            bare.append(bare_loop(Path(directory) / "bare", 1, REFERENCE))
            found.append(asyncio.run(jobs(where, JOBS, f"run{number}")))
    found.sort(key=lambda one: one.rate)
    middle = found[len(found) // 2]
    bare.sort()
    return [
        Figure(
            what=f"durable no-op jobs over the API's socket, {CLIENTS} clients",
            value=middle.rate,
            best=found[-1].rate,
            unit="jobs/s",
            target=TARGET,
            at_least=True,
            reference=f"bare apsw loop {bare[len(bare) // 2]:,.0f} commits/s",
            remark=f"{middle.cpu:.2f} ms of the master's CPU a job",
        ),
        Figure(
            what="… commits a job",
            value=max(one.commits for one in found),
            unit="commits",
            target=COMMITS,
        ),
    ]


if __name__ == "__main__":
    run(measure, __doc__, 5)
