"""What the API costs: no-op jobs over its socket, and listings of many instances.

    .venv/bin/python -m benchmarks.api [--jobs 20000] [--clients 20] [--instances 10000]

The queue is one that ends each job at once, so what is measured is the API alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
from tests.fakes.cluster import entities, instance, node_uuid
from tests.fakes.queue import FakeQueue
from tests.fakes.services import FakeServices

from gantry.api.app import build
from gantry.api.serve import Server
from gantry.model.entities import AdminState, Instance
from gantry.model.jobs import Job, OpRecord, Submission
from gantry.model.live import GuestLive, GuestState, NodeLive
from gantry.model.names import JobId

BODY = b'{"ops":[{"OP_ID":"OP_TEST_DUMMY"}],"request_id":"%016d"}'


class InstantQueue(FakeQueue):
    """Does as little as can be."""

    async def submit(self, submission: Submission) -> JobId:
        return JobId(1)

    async def wait(self, job: JobId) -> Job:
        return Job(id=job, uid="u", ops=(OpRecord(input={"OP_ID": "OP_TEST_DUMMY"}),))


def queue(instances: int) -> InstantQueue:
    made: list[Instance] = []
    for number in range(instances):
        one = instance(1_000_000 + number, node=1 + number % 3, admin_state=AdminState.UP)
        made.append(msgspec.structs.replace(one, name=f"web{number}.example.com"))
    found = InstantQueue([*entities(3), *made])
    for number in (1, 2, 3):
        guests = {
            one.uuid: GuestLive(uuid=one.uuid, name=one.name, state=GuestState.RUNNING, memory=128)
            for one in made
            if one.primary_node == node_uuid(number)
        }
        found.set_live(node_uuid(number), NodeLive(reachable=True, guests=guests))
    return found


def serve(path: Path, instances: int, pipe: Connection) -> None:
    """The server's process: says when it is ready, and its CPU seconds whenever it is asked."""

    async def run() -> None:
        there = queue(instances)
        server = await Server.start(build(there, FakeServices()), path)
        asked = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), asked.set)
        pipe.send(0.0)
        while True:
            await asked.wait()
            asked.clear()
            if not pipe.poll():
                continue
            word = pipe.recv()
            if word == "end":
                break
            if word == "change":
                some = next(iter(there.cluster.instances.values()))
                there.put(msgspec.structs.replace(some, serial_no=some.serial_no + 1))
            pipe.send(time.process_time())
        await server.close()

    asyncio.run(run())


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> bytes:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    return await reader.readexactly(length)


def post(number: int) -> bytes:
    body = BODY % number
    return (
        b"POST /gantry/1/jobs?wait=1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    ) + body


async def jobs(path: Path, count: int, clients: int) -> float:
    """Seconds for ``count`` jobs."""

    async def one(begin: int) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        for number in range(begin, count, clients):
            await exchange(reader, writer, post(number))
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(clients)))
    return time.perf_counter() - start


async def lists(path: Path, pipe: Connection, word: str) -> float:
    """The median of one listing in milliseconds, after ``word`` was told to the server."""
    request = b"GET /gantry/1/query/instance HTTP/1.1\r\nHost: x\r\n\r\n"
    reader, writer = await asyncio.open_unix_connection(path, limit=1 << 26)
    rows = json.loads(await exchange(reader, writer, request))["rows"]
    took = []
    for _ in range(21):
        pipe.send(word)
        await asyncio.to_thread(pipe.recv)
        start = time.perf_counter()
        await exchange(reader, writer, request)
        took.append(1000 * (time.perf_counter() - start))
    writer.close()
    print(f"{len(rows)} instances, after {word!r}: {statistics.median(took):.2f} ms")
    return statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--instances", type=int, default=10_000)
    given = parser.parse_args()
    here, there = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "master.sock"
        process = multiprocessing.Process(target=serve, args=(path, given.instances, there))
        process.start()
        here.recv()
        asyncio.run(jobs(path, 2000, given.clients))
        here.send("cpu")
        before = here.recv()
        seconds = asyncio.run(jobs(path, given.jobs, given.clients))
        here.send("cpu")
        each = 1000 * (here.recv() - before) / given.jobs
        print(f"{given.jobs / seconds:.0f} jobs/s, {each:.3f} ms of the server's CPU each")
        for word in ("nothing", "change"):
            asyncio.run(lists(path, here, word))
        here.send("end")
        process.join()


if __name__ == "__main__":
    main()
