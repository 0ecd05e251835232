"""Ended jobs on their way out of the store, into the history; and the numbers of jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from gantry.jobs import codec
from gantry.jobs.admission import unknown
from gantry.jobs.codec import Serial, StoredLog
from gantry.jobs.context import Context
from gantry.jobs.entry import Entry
from gantry.jobs.journal import Lost, unavailable
from gantry.jobs.recovery import Kept
from gantry.model.jobs import Job, LogEntry
from gantry.model.names import JobId
from gantry.ports.store import Delete, Operation, Put, Store

BATCH: Final = 40
"""Jobs archived in one transaction: a record and a log each."""
KEEP: Final = 5000
"""Ended jobs that stay in the store and in memory; the oldest go to the history."""
SPARE: Final = 1000
"""So many more may gather before the oldest go, for that means looking through all."""


class History(Protocol):
    """Where archived jobs are kept, outside of the store (``gantry.history``)."""

    async def add(self, jobs: Sequence[tuple[Job, tuple[LogEntry, ...]]]) -> None:
        """Keep jobs with their logs, durably; the same ones again replace the first."""

    async def get(self, job: JobId) -> Job | None:
        """One archived job."""

    async def log(self, job: JobId) -> tuple[LogEntry, ...]:
        """Its log."""

    async def jobs(self) -> Sequence[Job]:
        """All of them, by id."""

    async def highest(self) -> int:
        """The highest id, 0 where there is none."""


class Archiver:
    """Knows which jobs have ended, and the next number."""

    def __init__(
        self,
        context: Context,
        store: Store,
        history: History,
        kept: Kept,
        requests: dict[str, Entry],
    ) -> None:
        self._context = context
        self._store = store
        self._history = history
        self._entries = kept.entries
        self._requests = requests
        self._highest = kept.highest
        self._archived = kept.archived
        self.kept = sum(1 for entry in kept.entries.values() if entry.job.status.ended)
        """Ended jobs that are not archived."""
        self._pruning = False

    def next_id(self) -> JobId:
        """A number that no job ever had."""
        self._highest += 1
        return JobId(self._highest)

    def ended(self) -> None:
        """One more has ended; the oldest go when there are too many."""
        self.kept += 1
        if self.kept > KEEP + SPARE and not self._pruning:
            self._pruning = True
            self._context.background.start(self._prune())

    async def archive(self, entries: Sequence[Entry]) -> list[JobId]:
        """Move those that have ended; gives their numbers."""
        done: list[JobId] = []
        ready = [entry for entry in entries if entry.job.status.ended and entry.task is None]
        for start in range(0, len(ready), BATCH):
            batch = ready[start : start + BATCH]
            try:
                await self._move(batch)
            except Lost:
                raise unavailable() from None
            done += [entry.id for entry in batch]
        return done

    async def get(self, job: JobId) -> Job:
        """An archived job, or Rejected."""
        found = await self._history.get(job)
        if found is None:
            raise unknown(job)
        return found

    async def log(self, job: JobId) -> tuple[LogEntry, ...]:
        """The log of an ended job."""
        item = await self._store.get(codec.log_key(job))
        if item is not None:
            return codec.decode(item.key, item.value, StoredLog).entries
        if job in self._entries:
            return ()
        await self.get(job)
        return await self._history.log(job)

    async def jobs(self) -> Sequence[Job]:
        """All archived ones."""
        return await self._history.jobs()

    async def _prune(self) -> None:
        try:
            oldest = [
                entry
                for entry in self._entries.values()
                if entry.job.status.ended and entry.task is None
            ]
            await self.archive(oldest[: self.kept - KEEP])
        finally:
            self._pruning = False

    async def _closed(self, entry: Entry) -> tuple[Job, tuple[LogEntry, ...]]:
        # The closing commit of a job is not awaited by it.
        async with entry.lock:
            pass
        return codec.archived(entry.job), await self.log(entry.id)

    async def _move(self, batch: Sequence[Entry]) -> None:
        """First the history, then the store: a crash in between leaves a job in both."""
        # Side by side: in etcd each log is a question of its own.
        await self._history.add(await asyncio.gather(*map(self._closed, batch)))
        ops: list[Operation] = []
        for entry in batch:
            ops += [Delete(codec.job_key(entry.id)), Delete(codec.log_key(entry.id))]
        highest = max([self._archived, *(entry.id for entry in batch)])
        ops.append(Put(codec.SERIAL, codec.encode(Serial(highest=highest))))
        await self._context.journal.write(ops)
        self._archived = highest
        for entry in batch:
            if self._entries.pop(entry.id, None) is not None:
                self.kept -= 1
            self._requests.pop(entry.job.request_id, None)
