"""Archived jobs in ``history.db``, beside the store: what is kept long and read seldom.

It can be lost without harm to the cluster. One thread does all the work, so that a slow disk
never holds the event loop. Implements ``gantry.jobs.archive.History``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import apsw
import msgspec

from gantry.history.file import HistoryFile, connect
from gantry.model.jobs import Job, LogEntry
from gantry.model.names import JobId

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


async def open_history(path: Path) -> SqliteHistory:
    """Open or make the file; raises HistoryUnavailable."""
    return await SqliteHistory(path).open()


class SqliteHistory(HistoryFile):
    """Use ``open_history``."""

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

    def _connect(self) -> apsw.Connection:
        # An archived job leaves the store right after: it must be here for good.
        connection = connect(self._path, "full", _SCHEMA)
        connection.execute(f"pragma user_version = {VERSION}")
        return connection
