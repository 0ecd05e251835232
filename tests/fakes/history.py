"""``gantry.jobs.archive.History`` in a dictionary."""

from __future__ import annotations

from collections.abc import Sequence

from gantry.model.jobs import Job, LogEntry
from gantry.model.names import JobId


class FakeHistory:
    """Archived jobs in memory."""

    def __init__(self) -> None:
        self._jobs: dict[JobId, tuple[Job, tuple[LogEntry, ...]]] = {}

    async def add(self, jobs: Sequence[tuple[Job, tuple[LogEntry, ...]]]) -> None:
        """Keep jobs with their logs."""
        self._jobs.update((job.id, (job, log)) for job, log in jobs)

    async def get(self, job: JobId) -> Job | None:
        """One archived job."""
        found = self._jobs.get(job)
        return found[0] if found else None

    async def log(self, job: JobId) -> tuple[LogEntry, ...]:
        """Its log."""
        return self._jobs[job][1]

    async def jobs(self) -> Sequence[Job]:
        """All of them, by id."""
        return [self._jobs[job][0] for job in sorted(self._jobs)]

    async def highest(self) -> int:
        """The highest id, 0 where there is none."""
        return max(self._jobs, default=0)
