"""A TCP proxy between a client and one server, which loses or holds what it should forward."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from urllib.parse import urlsplit


class Mode(enum.Enum):
    FORWARD = "forward"
    # The connection stays, and nothing goes through any more, either way.
    HANG = "hang"
    # Requests arrive, answers do not.
    DEAF = "deaf"
    # Requests are kept until ``release``, even where the client has gone meanwhile.
    HOLD = "hold"


class Proxy:
    """Listens on an address of its own; ``mode`` may change at any time."""

    def __init__(self, server: str) -> None:
        parts = urlsplit(server)
        self._target = (parts.hostname or "", parts.port or 0)
        self._scheme = parts.scheme
        self.mode = Mode.FORWARD
        self.requests = asyncio.Event()
        """Set when something of a client has come."""
        self.served = asyncio.Event()
        """Set when something of the server has come."""
        self._released = asyncio.Event()
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    async def start(self) -> None:
        self._listener = await asyncio.start_server(self._accept, self._target[0], 0)
        host, port = self._listener.sockets[0].getsockname()[:2]
        self.url = f"{self._scheme}://{host}:{port}"

    def release(self) -> None:
        """Send on what was held."""
        self.served.clear()
        self._released.set()

    async def close(self) -> None:
        assert self._listener is not None
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._listener.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            there, back = await asyncio.open_connection(*self._target)
            try:
                up = asyncio.create_task(self._up(reader, back))
                down = asyncio.create_task(self._down(there, writer))
                _, left = await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
                if up in left or self.mode is not Mode.HOLD:
                    for each in left:
                        each.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
            finally:
                writer.close()
                back.close()

    async def _up(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self.requests.set()
            if self.mode is Mode.HANG:
                await asyncio.sleep(3600)
            if self.mode is Mode.HOLD:
                await self._released.wait()
            server.write(data)
            await server.drain()

    async def _down(self, server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while data := await server.read(65536):
            self.served.set()
            if self.mode is Mode.HANG:
                await asyncio.sleep(3600)
            if self.mode is Mode.FORWARD:
                client.write(data)
                await client.drain()
