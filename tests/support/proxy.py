"""A TCP proxy between clients and one server, which loses or holds what it should forward."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from urllib.parse import urlsplit

_CHUNK = 1 << 16


class Mode(enum.Enum):
    FORWARD = "forward"
    # The connection stays, and nothing goes through any more, either way.
    HANG = "hang"
    # Requests arrive, answers do not.
    DEAF = "deaf"
    # Requests are kept until ``release``, even where the client has gone meanwhile.
    HOLD = "hold"


class _Connection:
    """Of one client. A dead one passes nothing on, and neither end hears of the other's end."""

    dead = False

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        """What comes next; nothing at the end."""
        try:
            data = await reader.read(_CHUNK)
        except OSError:
            data = b""
        if self.dead:
            await _for_ever()
        return data


class Proxy:
    """Listens on a port of its own; ``mode`` may change at any time."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.mode = Mode.FORWARD
        self.requests = asyncio.Event()
        """Set when something of a client has come."""
        self.served = asyncio.Event()
        """Set when something of the server has come."""
        self._released = asyncio.Event()
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[_Connection] = set()
        self.port = 0

    async def start(self) -> int:
        """Its port, on the server's address."""
        self._listener = await asyncio.start_server(self._accept, self._target[0], 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self.port

    def hold(self) -> None:
        """Keep requests from now on; ``requests`` says that there is one."""
        self.requests.clear()
        self.mode = Mode.HOLD

    def release(self) -> None:
        """Send on what was held; what comes is held as long as ``mode`` says so."""
        self.served.clear()
        self._released.set()
        self._released = asyncio.Event()

    def let_go(self) -> None:
        """Send on what was held, and what comes."""
        self.mode = Mode.FORWARD
        self.release()

    def freeze(self) -> None:
        """What is connected now is dead without a word; new connections come through."""
        for connection in self._connections:
            connection.dead = True

    async def close(self) -> None:
        assert self._listener is not None
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._listener.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task, connection = asyncio.current_task(), _Connection()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._connections.add(connection)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                there, back = await asyncio.open_connection(*self._target)
                try:
                    await self._pass(connection, (reader, writer), (there, back))
                finally:
                    back.close()
        finally:
            self._connections.discard(connection)
            writer.close()

    async def _pass(
        self,
        connection: _Connection,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        up = asyncio.create_task(self._up(connection, client[0], server[1]))
        down = asyncio.create_task(self._down(connection, server[0], client[1]))
        try:
            _, left = await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
            if up not in left and self.mode is Mode.HOLD:
                # The answer to what was held, although nobody waits for it any more.
                await down
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _up(
        self, connection: _Connection, reader: asyncio.StreamReader, server: asyncio.StreamWriter
    ) -> None:
        while data := await connection.read(reader):
            self.requests.set()
            if self.mode is Mode.HANG:
                await _for_ever()
            if self.mode is Mode.HOLD:
                await self._released.wait()
            server.write(data)
            await server.drain()

    async def _down(
        self, connection: _Connection, server: asyncio.StreamReader, client: asyncio.StreamWriter
    ) -> None:
        while data := await connection.read(server):
            self.served.set()
            if self.mode is Mode.HANG:
                await _for_ever()
            if self.mode is Mode.FORWARD:
                client.write(data)
                await client.drain()


class HttpProxy(Proxy):
    """One in front of a server that is known by its URL."""

    def __init__(self, server: str) -> None:
        self._parts = urlsplit(server)
        super().__init__(self._parts.hostname or "", self._parts.port or 0)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"{self._parts.scheme}://{self._target[0]}:{self.port}"


async def _for_ever() -> None:
    await asyncio.Event().wait()
