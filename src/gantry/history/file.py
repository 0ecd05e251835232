"""One SQLite file, used by one thread, so that a slow disk never holds the event loop."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

import apsw

from gantry.model.errors import Reason, Unavailable

T = TypeVar("T")
_BUSY = 5000
"""Milliseconds that another process may have it locked."""


class HistoryUnavailable(Unavailable):
    """The history cannot be opened, read or written; the cluster works without it."""

    code = "history-unavailable"


class HistoryFile(ABC):
    """Base of what is kept in such a file; it is connected to when it is first used."""

    thread = "history"
    """The name of its thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, self.thread)
        self._connection: apsw.Connection | None = None

    async def open(self) -> Self:
        """Make the file and its tables where they are missing; closed where that fails."""
        try:
            await self._do(lambda _: None)
        except BaseException:
            await self.close()
            raise
        return self

    async def close(self) -> None:
        """Close the file."""

        def work() -> None:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

        await asyncio.get_running_loop().run_in_executor(self._thread, work)
        self._thread.shutdown()

    @abstractmethod
    def _connect(self) -> apsw.Connection:
        """With its tables."""

    async def _do(self, work: Callable[[apsw.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)

    def _work(self, work: Callable[[apsw.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = self._connect()
            return work(self._connection)
        except apsw.Error as error:
            raise HistoryUnavailable(
                f"the history file {self._path} cannot be used: {error}",
                _hint(error),
                reason=Reason.ENVIRONMENT,
                object_name=str(self._path),
            ) from error


def connect(path: Path, synchronous: str, schema: str) -> apsw.Connection:
    """Open or make the file, for its owner alone; ``synchronous`` is SQLite's word."""
    connection = apsw.Connection(str(path))
    path.chmod(0o600)
    connection.set_busy_timeout(_BUSY)
    connection.execute("pragma journal_mode = wal")
    connection.execute(f"pragma synchronous = {synchronous}")
    connection.execute(schema)
    return connection


def _hint(error: apsw.Error) -> str:
    """What an operator can do about it."""
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return "move it away: the archived jobs are lost then, and nothing else"
    if isinstance(error, apsw.FullError):
        return "make room on its disk"
    return "check the file's disk: is it full, mounted, writable?"
