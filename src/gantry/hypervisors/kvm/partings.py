"""Devices that a guest was asked to let go of, and QEMU's word that it has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager


class Partings:
    """Of one guest."""

    def __init__(self) -> None:
        self._awaited: dict[str, asyncio.Event] = {}

    @asynccontextmanager
    async def of(self, device: str) -> AsyncIterator[Callable[[float], Awaitable[bool]]]:
        """While in it QEMU's word that ``device`` is gone is heard, at most so many seconds."""
        event = self._awaited.setdefault(device, asyncio.Event())

        async def gone(timeout: float) -> bool:
            try:
                async with asyncio.timeout(timeout):
                    await event.wait()
            except TimeoutError:
                return False
            return True

        try:
            yield gone
        finally:
            self._awaited.pop(device, None)

    def told(self, device: str) -> bool:
        """It is gone; False where nobody waits for that."""
        event = self._awaited.get(device)
        if event is not None:
            event.set()
        return event is not None
