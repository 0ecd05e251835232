"""Starting and stopping guests through the engine, with agents in memory: the master's share.

python benchmarks/start_stop.py [clients] [operations]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.engine import engine_on
from tests.fakes.cluster import instance

from gantry.model.jobs import JobStatus, Submission
from gantry.store.sqlite import open_sqlite


async def main(clients: int, operations: int) -> None:
    sys.setswitchinterval(0.0001)
    with tempfile.TemporaryDirectory() as directory:
        store = await open_sqlite(Path(directory) / "state")
        objects = [instance(number, node=number % 3 + 1) for number in range(1, clients + 1)]
        cluster, engine = await engine_on(store, objects)

        async def client(number: int) -> None:
            for turn in range(operations // clients):
                code = "OP_INSTANCE_SHUTDOWN" if turn % 2 else "OP_INSTANCE_STARTUP"
                op = {"OP_ID": code, "instance_name": f"web{number}.example.com"}
                job = await engine.submit(Submission(ops=(op,), request_id=f"{number}/{turn}"))
                ended = await engine.wait(job)
                assert ended.status is JobStatus.SUCCESS, ended.ops[0].error

        before, began = engine.awaited_commits, time.perf_counter()
        await asyncio.gather(*(client(number) for number in range(1, clients + 1)))
        took = time.perf_counter() - began
        print(
            f"{clients} clients: {operations / took:,.0f} operations/s, "
            f"{1000 * took * clients / operations:.1f} ms each, "
            f"{(engine.awaited_commits - before) / operations:.2f} awaited commits each"
        )
        await cluster.close()


if __name__ == "__main__":
    arguments = [int(each) for each in sys.argv[1:]]
    asyncio.run(main(*(arguments + [20, 4000][len(arguments) :])))
