"""A way to a replica on which connections can die without a word, while new ones come through."""

from __future__ import annotations

import asyncio
import contextlib

from gantry.model.specs import MirrorTarget

_CHUNK = 1 << 16


class Way:
    """Passes connections on to a target; ``freeze`` makes those that are there dead."""

    def __init__(self, target: MirrorTarget) -> None:
        self.target = target
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._frozen: set[asyncio.Task[None]] = set()

    async def open(self) -> int:
        """Its port on this machine."""
        self._server = await asyncio.start_server(self._called, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def freeze(self) -> None:
        """Nothing that is sent over what is there arrives, and nobody hears of its end."""
        self._frozen |= self._tasks

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _called(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            there, back = await asyncio.open_connection(self.target.host, self.target.port)
        except OSError:
            writer.close()
            return
        self._writers.append(back)
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pass(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        try:
            while data := await source.read(_CHUNK):
                if task in self._frozen:
                    await asyncio.Event().wait()
                sink.write(data)
                await sink.drain()
        except OSError:
            pass  # one of both has gone
        if task not in self._frozen:
            sink.close()
