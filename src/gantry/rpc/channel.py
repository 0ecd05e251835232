"""The master's end of a node's order channel: many orders at a time over one WebSocket.

An order over HTTP costs a request and a response at both ends; here it is a line each way, and
lines share frames. The lines are those of ``gantry.rpc.wire``, each with the number of its call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import aiohttp
import msgspec

from gantry.model import timeouts
from gantry.model.errors import GantryError, from_info
from gantry.rpc import wire
from gantry.rpc.outbox import Outbox

_IDLE: Final = 300.0
"""Seconds after which a channel that nobody uses is closed."""
_lines = msgspec.json.Decoder(wire.NumberedLine)


class Waiting:
    """One call whose answer has not come."""

    def __init__(
        self, limit: asyncio.Timeout, end: float, progress: Callable[[str], None] | None
    ) -> None:
        self.answer: asyncio.Future[wire.NumberedLine] = asyncio.get_running_loop().create_future()
        self._limit = limit
        self._end = end
        self._progress = progress

    def take(self, line: wire.NumberedLine, now: float) -> bool:
        """A line about it; whether it is the last one."""
        if line.answer or line.error is not None:
            if not self.answer.done():
                self.answer.set_result(line)
            return True
        if not self.answer.done():
            self._limit.reschedule(min(self._end, now + timeouts.NODE_DOWN_AFTER))
        if line.progress is not None and self._progress is not None:
            self._progress(line.progress)
        return False

    def fail(self, error: BaseException) -> None:
        """No answer will come."""
        if not self.answer.done():
            self.answer.set_exception(error)
            # Whoever waited may have given up meanwhile.
            self.answer.exception()


class Channel:
    """An open WebSocket to one agent. After ``closed`` a new one has to be opened."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.closed = False
        self._socket = socket
        self._outbox = Outbox(socket)
        self._waiting: dict[int, Waiting] = {}
        self._number = 0
        self._task = asyncio.get_running_loop().create_task(self._read(), name="channel")

    async def call(
        self, body: bytes, timeout: float, progress: Callable[[str], None] | None = None
    ) -> wire.NumberedLine:
        """Send ``body`` (the call's fields, as a JSON object); its last line.

        TimeoutError after ``timeout`` seconds, or 10 of silence; OSError and
        aiohttp.ClientError where the connection broke; what an agent says that refuses us.
        """
        now = asyncio.get_running_loop().time()
        end = now + timeout
        self._number += 1
        number = self._number
        try:
            async with asyncio.timeout_at(min(end, now + timeouts.NODE_DOWN_AFTER)) as limit:
                waiting = self._waiting[number] = Waiting(limit, end, progress)
                self._outbox.put(wire.numbered(number, body))
                return await waiting.answer
        except TimeoutError:
            # The peer may be gone without a word: the next order tries a new connection.
            self._end(aiohttp.ServerDisconnectedError())
            raise
        finally:
            self._waiting.pop(number, None)

    async def close(self) -> None:
        """End the connection; calls that wait fail."""
        self._end(aiohttp.ServerDisconnectedError())
        await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        error: BaseException = aiohttp.ServerDisconnectedError()
        try:
            while not self.closed:
                try:
                    message = await self._socket.receive(timeout=_IDLE)
                except TimeoutError:
                    if not self._waiting:
                        break
                    continue
                if message.type is not aiohttp.WSMsgType.BINARY:
                    break
                self._take(message.data)
        except GantryError as refused:
            error = refused
        except (aiohttp.ClientError, OSError, msgspec.MsgspecError) as broken:
            error = broken
        finally:
            self._end(error)
            await self._outbox.close()
            await self._socket.close()

    def _take(self, data: bytes) -> None:
        now = asyncio.get_running_loop().time()
        for text in wire.lines(data):
            line: Any = _lines.decode(text)
            if not line.id and line.error is not None:
                raise from_info(line.error)
            waiting = self._waiting.get(line.id)
            if waiting is not None and waiting.take(line, now):
                del self._waiting[line.id]

    def _end(self, error: BaseException) -> None:
        self.closed = True
        for waiting in self._waiting.values():
            waiting.fail(error)
        self._waiting.clear()
        if asyncio.current_task() is not self._task:
            self._task.cancel()
