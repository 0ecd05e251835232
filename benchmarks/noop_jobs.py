"""Durable jobs that do nothing, in process on SQLite: what the engine itself costs a job.

python benchmarks/noop_jobs.py [clients] [jobs]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.engine import engine_on

from gantry.model.jobs import Submission
from gantry.store.sqlite import open_sqlite


async def main(clients: int, jobs: int) -> None:
    sys.setswitchinterval(0.0001)
    with tempfile.TemporaryDirectory() as directory:
        store = await open_sqlite(Path(directory) / "state")
        cluster, engine = await engine_on(store)
        left = iter(range(jobs))

        async def client() -> None:
            for number in left:
                job = await engine.submit(
                    Submission(ops=({"OP_ID": "OP_TEST_DUMMY"},), request_id=str(number))
                )
                await engine.wait(job)

        before, began = store.commits, time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        took = time.perf_counter() - began
        print(
            f"{clients} clients: {jobs / took:,.0f} jobs/s, "
            f"{(store.commits - before) / jobs:.2f} commits a job"
        )
        await cluster.close()


if __name__ == "__main__":
    arguments = [int(each) for each in sys.argv[1:]]
    asyncio.run(main(*(arguments + [20, 20000][len(arguments) :])))
