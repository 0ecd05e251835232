"""A guest's console line, shared out to any number of readers, none of whom can hold it up.

What the guest writes is taken at once, always. Each reader has a buffer of its own; one that
fills is closed with a notice. Nothing here knows where the line comes from.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

TAIL = 4096
"""Bytes of earlier output that a new reader gets first."""
BUFFER = 256 * 1024
"""Bytes that a reader may be behind."""
TOO_SLOW = b"\r\n[gantry: the console wrote faster than it was read here; detached]\r\n"


class Line:
    """One guest's console. ``send`` types into it."""

    def __init__(self, send: Callable[[bytes], Awaitable[None]], tail: bytes = b"") -> None:
        self._send = send
        self._tail = bytearray(tail[-TAIL:])
        self._attached: set[Attachment] = set()

    def feed(self, data: bytes) -> None:
        """The guest wrote ``data``."""
        self._tail += data
        del self._tail[:-TAIL]
        for attachment in tuple(self._attached):
            if not attachment.offer(data):
                self._attached.discard(attachment)

    def attach(self) -> Attachment:
        """A new reader and writer, beginning with the tail."""
        attachment = Attachment(self._send, self._attached.discard)
        if self._tail:
            attachment.offer(bytes(self._tail))
        self._attached.add(attachment)
        return attachment

    def end(self) -> None:
        """The guest is gone: every reader comes to an end."""
        for attachment in tuple(self._attached):
            attachment.end()
        self._attached.clear()


class Attachment:
    """One attached reader and writer (a Console of the contract)."""

    def __init__(
        self,
        send: Callable[[bytes], Awaitable[None]],
        detach: Callable[[Attachment], None],
    ) -> None:
        self._send = send
        self._detach = detach
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._over = False
        self._something = asyncio.Event()

    def offer(self, data: bytes) -> bool:
        """Put ``data`` into the buffer; False where it is full, and the reader is dropped."""
        fits = self._size + len(data) <= BUFFER
        if not fits:
            self._chunks.clear()
            data = TOO_SLOW
        self._chunks.append(data)
        self._size += len(data)
        self._over = not fits
        self._something.set()
        return fits

    def end(self) -> None:
        """Nothing more comes."""
        self._over = True
        self._something.set()

    async def output(self) -> AsyncIterator[bytes]:
        """The tail, then what the guest writes, until it ends or this is closed."""
        while True:
            while self._chunks:
                data = self._chunks.popleft()
                self._size -= len(data)
                yield data
            if self._over:
                return
            self._something.clear()
            await self._something.wait()

    async def write(self, data: bytes) -> None:
        """Type into the console; nothing happens once it is over."""
        if not self._over:
            await self._send(data)

    async def close(self) -> None:
        """Detach."""
        self._detach(self)
        self._chunks.clear()
        self.end()
