"""A job's live log: lines with serial numbers, the kept tail, and a bell for followers."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from typing import Final

import msgspec

from gantry.model.jobs import MAX_LOG_LINES, LogEntry, LogKind

MAX_LINE: Final = 4000
"""Characters of one line; what is longer is cut."""
MAX_STORED: Final = 200_000
"""Bytes of a log that go into the store; the oldest lines go first."""


class Log:
    """The last lines of one job; ``changed`` wakes whoever follows."""

    def __init__(self) -> None:
        self._entries: deque[LogEntry] = deque(maxlen=MAX_LOG_LINES)
        self._serial = 0
        self._saved = 0
        self._bell: asyncio.Event | None = None

    def add(self, time: float, text: str, kind: LogKind, op: int) -> None:
        """One line more."""
        if len(text) > MAX_LINE:
            text = text[:MAX_LINE] + " …"
        self._serial += 1
        self._entries.append(LogEntry(serial=self._serial, time=time, kind=kind, text=text, op=op))
        self.ring()

    def restore(self, entries: tuple[LogEntry, ...]) -> None:
        """Lines that a journal kept."""
        self._entries.extend(entries)
        if entries:
            self._serial = self._saved = max(self._serial, entries[-1].serial)

    def after(self, serial: int) -> tuple[LogEntry, ...]:
        """The kept lines after number ``serial``."""
        if serial >= self._serial:
            return ()
        first = self._entries[0].serial
        return tuple(islice(self._entries, max(0, serial + 1 - first), None))

    def unsaved(self) -> tuple[LogEntry, ...]:
        """The lines since the last call, as far as they fit a journal's record."""
        lines = _tail(self.after(self._saved), MAX_STORED // 4)
        self._saved = self._serial
        return lines

    def tail(self) -> tuple[LogEntry, ...]:
        """What the store keeps when the job has ended."""
        return _tail(tuple(self._entries), MAX_STORED)

    def ring(self) -> None:
        """Something changed: wake the followers."""
        if self._bell is not None:
            self._bell.set()
            self._bell = None

    async def changed(self) -> None:
        """Until the next change; look *after* calling, not before, or one may be missed."""
        if self._bell is None:
            self._bell = asyncio.Event()
        await self._bell.wait()


def _tail(entries: tuple[LogEntry, ...], size: int) -> tuple[LogEntry, ...]:
    for index in range(len(entries) - 1, -1, -1):
        # As JSON: a control character takes six bytes.
        size -= len(msgspec.json.encode(entries[index].text)) + 100
        if size < 0:
            return entries[index + 1 :]
    return entries
