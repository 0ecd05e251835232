"""The reading end of a guest's serial line: it never stops reading.

A serial port whose reader does not read stalls the guest. QEMU itself writes the log, so that
it goes on while no agent runs; here it is only kept from growing for ever.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from pathlib import Path
from typing import Final, cast

from gantry.hypervisors.console import TAIL, Line
from gantry.model.errors import OperationFailed

LOG_LIMIT: Final = 1024 * 1024
"""Bytes after which the log becomes ``….1``, in place of an older one."""
_LOOK_EVERY: Final = 64 * 1024
_PATIENCE: Final = 5.0
"""Seconds that typing waits for a guest that does not read."""


class Serial(asyncio.Protocol):
    """One guest's serial line. ``line`` is where readers attach."""

    def __init__(self, log: Path) -> None:
        self.line = Line(self._send, _tail(log))
        self._log = log
        self._unseen = 0
        self._transport: asyncio.WriteTransport | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    @classmethod
    async def open(cls, connection: socket.socket, log: Path) -> Serial:
        """Begin to read on a connected socket."""
        rotate(log)
        loop = asyncio.get_running_loop()
        _, serial = await loop.create_unix_connection(lambda: cls(log), sock=connection)
        return serial

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio's interface."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Part of asyncio's interface."""
        self.line.feed(data)
        self._unseen += len(data)
        if self._unseen >= _LOOK_EVERY:
            self._unseen = 0
            rotate(self._log)

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio's interface."""
        self._transport = None
        self._writable.set()
        self.line.end()

    def pause_writing(self) -> None:
        """Part of asyncio's interface."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Part of asyncio's interface."""
        self._writable.set()

    def close(self) -> None:
        """Let go of the line; from then on QEMU drops what it cannot deliver."""
        if self._transport is not None:
            self._transport.abort()

    async def _send(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._writable.wait()
        except TimeoutError:
            raise OperationFailed(
                f"the guest has not read its console for {_PATIENCE:g} s",
                "what was typed is lost; it may hang, or have no program on that line",
            ) from None
        if self._transport is not None:
            self._transport.write(data)


def rotate(log: Path) -> None:
    """Move the log's content away once it is long; QEMU goes on appending to the same file."""
    try:
        if log.stat().st_size > LOG_LIMIT:
            shutil.copyfile(log, log.with_name(log.name + ".1"))
            os.truncate(log, 0)
    except FileNotFoundError:
        return


def _tail(log: Path) -> bytes:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            return file.read(TAIL)
    except FileNotFoundError:
        return b""
