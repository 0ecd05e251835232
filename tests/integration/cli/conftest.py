"""The real commands, run in this process, against the real API over a fake queue."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from tests.fakes.cluster import entities, instance, node_uuid
from tests.fakes.queue import FakeQueue
from tests.fakes.services import FakeServices

from gantry.api.app import build
from gantry.api.serve import Server
from gantry.cli import program
from gantry.main.bench import LocalBench
from gantry.model.entities import AdminState, Nic, NicMode
from gantry.model.jobs import JobChange, LogKind, Submission
from gantry.model.live import GuestLive, GuestState, NodeFacts, NodeLive
from gantry.model.names import JobId, Uuid


@dataclass(frozen=True)
class Done:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class WatchedQueue(FakeQueue):
    """``arrived`` has the number of every job; ``broken`` streams end with the next change.

    ``lose``: so many submissions are taken, and their client hears no answer.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.broken = False
        self.lose = 0
        self.arrived: asyncio.Queue[JobId] = asyncio.Queue()

    async def submit(self, submission: Submission) -> JobId:
        number = await super().submit(submission)
        self.arrived.put_nowait(number)
        return number

    async def follow(self, job: JobId, after: int = 0) -> AsyncIterator[JobChange]:
        async for change in super().follow(job, after):
            if self.broken:
                return
            yield change

    async def warn(self, job: JobId, text: str) -> None:
        """One more warning in the job's log."""
        await self.say(job, text)
        log = self._jobs[job].log
        log[-1] = msgspec.structs.replace(log[-1], kind=LogKind.WARNING)


class Commands:
    """Runs ``gnt-*`` commands; ``queue`` is what the master has."""

    def __init__(self, queue: WatchedQueue, services: FakeServices, root: Path) -> None:
        self.queue = queue
        self.services = services
        self.root = root

    async def __call__(self, line: str, *more: str, stdin: str = "") -> Done:
        """``line`` is split at spaces; ``more`` are arguments as they are."""
        words = [*line.split(), *more]
        return await asyncio.to_thread(_run, words[0], words[1:], stdin)

    async def operation(self, line: str, *more: str) -> dict[str, Any]:
        """The one operation that a command submits; the job succeeds at once."""
        self.queue.at_once = True
        before = len(self.queue.submissions)
        done = await self(line, *more)
        assert done.err == "", done
        (submission,) = self.queue.submissions[before:]
        (operation,) = submission.ops
        return operation


def _run(name: str, argv: list[str], stdin: str) -> Done:
    out, err, before = _written(), _written(), sys.stdin
    sys.stdin = io.StringIO(stdin)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = program.main(name, argv, LocalBench)
            except SystemExit as end:
                status = int(end.code or 0)
    finally:
        sys.stdin = before
    return Done(status, _text(out), _text(err))


def _written() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)


def _text(written: io.TextIOWrapper) -> str:
    written.seek(0)
    return written.read()


def guest(number: int, state: GuestState = GuestState.RUNNING) -> GuestLive:
    """The guest of instance ``number``."""
    one = instance(number)
    return GuestLive(uuid=one.uuid, name=one.name, state=state, since=1000.0, memory=128, vcpus=1)


def live(*guests: GuestLive, reachable: bool = True) -> NodeLive:
    """A node with 4 GiB that runs these guests."""
    facts = NodeFacts(
        boot_id="00000000-0000-4000-8000-00000000b007",
        memory_total=4096,
        memory_free=3000,
        memory_node=200,
        disk_total=100 * 1024,
        disk_free=80 * 1024,
        cpus=4,
        version="0.1.0",
    )
    return NodeLive(
        reachable=reachable, since=1000.0, facts=facts, guests={one.uuid: one for one in guests}
    )


@pytest.fixture
def queue() -> WatchedQueue:
    """Three nodes; web1 runs, web2 is down, web3 should run and does not, web10 has a node down."""
    nic = Nic(
        uuid=Uuid("00000000-0000-4000-8000-00000000a1c1"),
        mac="aa:00:00:00:00:01",
        mode=NicMode.USER,
        ip="10.0.2.15",
    )
    instances = [
        instance(1, admin_state=AdminState.UP, nics=(nic,), beparams={"maxmem": 256}),
        instance(2, tags=("env:test", "tier:1")),
        instance(3, 2, admin_state=AdminState.UP),
        instance(10, 3, admin_state=AdminState.UP),
    ]
    lives = {
        node_uuid(1): live(guest(1)),
        node_uuid(2): live(),
        node_uuid(3): live(reachable=False),
    }
    return WatchedQueue([*entities(3), *instances], lives)


@pytest.fixture
async def gnt(
    queue: WatchedQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Commands]:
    """The commands, on a node whose master answers."""
    monkeypatch.setenv("GANTRY_ROOT", str(tmp_path))
    monkeypatch.delenv("GANTRY_JOB", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    services = FakeServices()
    app = build(queue, services)

    async def lose(request: web.Request, response: web.StreamResponse) -> None:
        if queue.lose and request.method == "POST":
            queue.lose -= 1
            assert request.transport is not None
            request.transport.abort()

    app.on_response_prepare.append(lose)
    server = await Server.start(app, tmp_path / "run/gantry/master.sock")
    yield Commands(queue, services, tmp_path)
    await server.close()
    monkeypatch.undo()
    time.tzset()
