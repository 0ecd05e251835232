"""An API over a fake queue on a real Unix socket, and clients in threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.fakes.cluster import entities, instance
from tests.fakes.queue import FakeQueue
from tests.fakes.services import FakeServices

from gantry.api.app import build
from gantry.api.events import Bell
from gantry.api.serve import Server
from gantry.client.connection import Connection

T = TypeVar("T")


class Api:
    """A running API, and a client of it."""

    server: Server

    def __init__(self, queue: FakeQueue, services: FakeServices, root: Path) -> None:
        self.queue = queue
        self.services = services
        self.root = root
        self.client = Connection(str(root))
        self.bell = Bell()
        self.path = root / "run/gantry/master.sock"

    async def call(self, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Of the blocking client, in a thread."""
        return await asyncio.to_thread(function, *arguments, **named)

    async def get(self, path: str, **query: str) -> Any:
        return await self.call(self.client.get, path, **query)

    async def post(self, path: str, body: Any = None, **query: str) -> Any:
        return await self.call(self.client.post, path, body, **query)


@pytest.fixture
def queue() -> FakeQueue:
    return FakeQueue([*entities(3), *[instance(number) for number in range(1, 4)]])


@pytest.fixture
async def api(queue: FakeQueue, tmp_path: Path) -> AsyncIterator[Api]:
    services = FakeServices()
    found = Api(queue, services, tmp_path)
    found.server = await Server.start(build(queue, services, bell=found.bell), found.path)
    yield found
    await found.server.close()
