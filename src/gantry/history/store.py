"""Archived jobs in ``history.db``, beside the store: what is kept long and read seldom.

It can be lost without harm to the cluster. One thread does all the work, so that a slow disk
never holds the event loop. Implements ``gantry.jobs.archive.History``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import apsw
import msgspec

from gantry.model.errors import Reason, Unavailable
from gantry.model.jobs import Job, LogEntry
from gantry.model.names import JobId

T = TypeVar("T")
VERSION: Final = 1
_SCHEMA: Final = """
create table if not exists jobs (
    id integer primary key, ended real not null, status text not null,
    job blob not null, log blob not null
) strict;
create index if not exists jobs_by_end on jobs (ended);
"""
_jobs: msgspec.json.Decoder[Job] = msgspec.json.Decoder(Job)
_logs: msgspec.json.Decoder[tuple[LogEntry, ...]] = msgspec.json.Decoder(tuple[LogEntry, ...])


class HistoryUnavailable(Unavailable):
    """The history cannot be opened, read or written; the cluster works without it."""

    code = "history-unavailable"


async def open_history(path: Path) -> SqliteHistory:
    """Open or make the file; raises HistoryUnavailable."""
    history = SqliteHistory(path)
    try:
        await history.open()
    except BaseException:
        await history.close()
        raise
    return history


class SqliteHistory:
    """Use ``open_history``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "history")
        self._connection: apsw.Connection | None = None

    async def open(self) -> None:
        """Make the file and its tables where they are missing."""
        await self._do(lambda _: None)

    async def add(self, jobs: Sequence[tuple[Job, tuple[LogEntry, ...]]]) -> None:
        """Keep jobs with their logs, durably; the same ones again replace the first."""
        rows = [
            (
                job.id,
                job.ended or 0.0,
                str(job.status),
                msgspec.json.encode(job),
                msgspec.json.encode(log),
            )
            for job, log in jobs
        ]

        def work(connection: apsw.Connection) -> None:
            with connection:
                connection.executemany("insert or replace into jobs values (?, ?, ?, ?, ?)", rows)

        await self._do(work)

    async def get(self, job: JobId) -> Job | None:
        """One archived job."""
        data = await self._do(
            lambda connection: connection.execute("select job from jobs where id = ?", (job,)).get
        )
        return _jobs.decode(data) if data is not None else None

    async def log(self, job: JobId) -> tuple[LogEntry, ...]:
        """Its log."""
        data = await self._do(
            lambda connection: connection.execute("select log from jobs where id = ?", (job,)).get
        )
        return _logs.decode(data) if data is not None else ()

    async def jobs(self) -> Sequence[Job]:
        """All of them, by id."""
        return await self._do(
            lambda connection: [
                _jobs.decode(data)
                for (data,) in connection.execute("select job from jobs order by id")
            ]
        )

    async def highest(self) -> int:
        """The highest id, 0 where there is none."""
        found = await self._do(
            lambda connection: connection.execute("select max(id) from jobs").get
        )
        return found or 0

    async def close(self) -> None:
        """Close the file."""

        def work() -> None:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

        await asyncio.get_running_loop().run_in_executor(self._thread, work)
        self._thread.shutdown()

    async def _do(self, work: Callable[[apsw.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)

    def _work(self, work: Callable[[apsw.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = _connect(self._path)
            return work(self._connection)
        except apsw.Error as error:
            raise HistoryUnavailable(
                f"the history file {self._path} cannot be used: {error}",
                hint(error),
                reason=Reason.ENVIRONMENT,
                object_name=str(self._path),
            ) from error


def hint(error: apsw.Error) -> str:
    """What an operator can do about it."""
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return "move it away: the archived jobs are lost then, and nothing else"
    if isinstance(error, apsw.FullError):
        return "make room on its disk"
    return "check the file's disk: is it full, mounted, writable?"


def _connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    path.chmod(0o600)
    connection.set_busy_timeout(5000)
    connection.execute("pragma journal_mode = wal")
    # An archived job leaves the store right after: it must be here for good.
    connection.execute("pragma synchronous = full")
    connection.execute(_SCHEMA)
    connection.execute(f"pragma user_version = {VERSION}")
    return connection
