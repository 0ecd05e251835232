"""An engine in this process on three fake nodes, to count what cannot be seen from outside."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from tests.fakes.cluster import FakeCluster, instance

from gantry.model.jobs import JobStatus, Submission
from gantry.store.sqlite import open_sqlite


async def awaited_commits(operations: int, clients: int) -> float:
    """Commits that a start or a stop waits for, on average."""
    with tempfile.TemporaryDirectory() as directory:
        store = await open_sqlite(Path(directory) / "state")
        objects = [instance(number, node=number % 3 + 1) for number in range(1, clients + 1)]
        cluster = await FakeCluster.make(objects, store=store)
        engine = await cluster.start()

        async def client(number: int) -> None:
            for turn in range(operations // clients):
                code = "OP_INSTANCE_SHUTDOWN" if turn % 2 else "OP_INSTANCE_STARTUP"
                op = {"OP_ID": code, "instance_name": f"web{number}.example.com"}
                job = await engine.submit(Submission(ops=(op,), request_id=f"{number}/{turn}"))
                ended = await engine.wait(job)
                assert ended.status is JobStatus.SUCCESS, ended.ops[0].error

        before = engine.awaited_commits
        await asyncio.gather(*(client(number) for number in range(1, clients + 1)))
        found = (engine.awaited_commits - before) / operations
        await cluster.close()
        return found
