"""Lines that tell what is being done: a clock that runs on a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import TextIO

_REFRESH = 0.5
"""Seconds between two looks of the running clock."""


class Progress:
    """Writes to ``stream``; where it is None nothing is told."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._terminal = stream is not None and stream.isatty()

    def say(self, text: str) -> None:
        """One line."""
        if self._stream is not None:
            self._stream.write(text + "\n")
            self._stream.flush()

    @contextlib.asynccontextmanager
    async def step(self, text: str) -> AsyncIterator[None]:
        """Tell that ``text`` is being done, and how long it takes."""
        if not self._terminal:
            self.say(text)
            yield
            return
        began = time.monotonic()
        clock = asyncio.create_task(self._clock(text, began), name="progress")
        done = False
        try:
            yield
            done = True
        finally:
            clock.cancel()
            await asyncio.gather(clock, return_exceptions=True)
            how = f"{time.monotonic() - began:.1f} s" if done else "failed"
            self._write(f"\r\x1b[K{text}: {how}\n")

    async def _clock(self, text: str, began: float) -> None:
        while True:
            self._write(f"\r\x1b[K{text} … {time.monotonic() - began:.0f} s")
            await asyncio.sleep(_REFRESH)

    def _write(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(text)
            self._stream.flush()
