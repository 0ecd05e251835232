"""What is to be sent over one WebSocket: all that is said at a time goes in one frame.

Under load dozens of orders, or answers, share a frame, and with it the cost of encryption and
of a system call. What the lines mean is not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, Protocol

import aiohttp

_FRAME: Final = 256 * 1024
"""Bytes after which a frame is sent although more waits."""


class Socket(Protocol):
    """Either end of a WebSocket."""

    async def send_bytes(self, data: bytes) -> None:
        """One frame; returns when the peer may be sent more."""


class Outbox:
    """Lines (each with its line end) for one peer, sent in order by one task."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._lines: list[bytes] = []
        self._filled = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task = asyncio.get_running_loop().create_task(self._send(), name="outbox")

    def put(self, line: bytes) -> None:
        """Send it as soon as can be; lost where the connection is."""
        self._lines.append(line)
        self._filled.set()
        self._idle.clear()

    async def drained(self) -> None:
        """Until all is sent, or the connection is gone."""
        await self._idle.wait()

    async def close(self) -> None:
        """Send nothing more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _send(self) -> None:
        try:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                while True:
                    await self._filled.wait()
                    self._filled.clear()
                    while self._lines:
                        await self._socket.send_bytes(self._frame())
                    self._idle.set()
        finally:
            # Whoever waits for an answer learns from the reading side that the peer is gone.
            self._idle.set()

    def _frame(self) -> bytes:
        size = count = 0
        for line in self._lines:
            if count and size + len(line) > _FRAME:
                break
            size += len(line)
            count += 1
        frame, self._lines = b"".join(self._lines[:count]), self._lines[count:]
        return frame
