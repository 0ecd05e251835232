"""The job queue as the API and supervision see it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Protocol, TypeVar

import msgspec

from gantry.model.entities import AnyEntity
from gantry.model.jobs import Job, JobChange, LogEntry, Submission
from gantry.model.locks import Lock
from gantry.model.names import JobId, Uuid
from gantry.model.orders import Order
from gantry.model.replicas import MirrorChange
from gantry.model.snapshot import Snapshot

A = TypeVar("A", bound=msgspec.Struct)


class Queue(Protocol):
    """All methods raise Rejected for an unknown job, naming it."""

    async def submit(self, submission: Submission) -> JobId:
        """Take a job, durably; a repeat of a ``request_id`` gives the same job again.

        Rejected: an operation that does not exist, a parameter that does not fit (nothing is
        kept of it), a full or drained queue, a lock that the surrounding job holds.
        """

    async def wait(self, job: JobId) -> Job:
        """The job when it has ended."""

    def follow(self, job: JobId, after: int = 0) -> AsyncIterator[JobChange]:
        """The log after serial ``after`` and every change of status; ends with the job."""

    async def get(self, job: JobId) -> Job:
        """One job, archived or not."""

    async def log(self, job: JobId) -> tuple[LogEntry, ...]:
        """The log of one job, archived or not."""

    def jobs(self) -> Sequence[Job]:
        """All jobs that are not archived, from memory, by id."""

    async def archived(self) -> Sequence[Job]:
        """The archived jobs, by id."""

    async def cancel(self, job: JobId, *, kill: bool = False) -> str:
        """Ask for a job's end: at once where queued or waiting; ``kill``: running ones too.

        Returns in words what was done.
        """

    async def change_priority(self, job: JobId, priority: int) -> None:
        """Of a job that has not begun."""

    async def archive(self, jobs: Sequence[JobId]) -> Sequence[JobId]:
        """Move ended jobs out of the store; returns those that were moved."""

    async def auto_archive(self, age: float) -> int:
        """Archive what ended more than ``age`` seconds ago; returns how many."""

    async def change(
        self,
        put: Iterable[AnyEntity] = (),
        delete: Iterable[AnyEntity] = (),
        mirrors: Iterable[MirrorChange] = (),
    ) -> None:
        """Write objects outside of any job, durably; ``mirrors`` is applied to what is there."""

    async def tell(self, node: Uuid, order: Order[A], timeout: float) -> A:
        """An order outside of any job, once; raises what the agent says, and Unavailable."""

    def concerns(self, lock: Lock) -> bool:
        """Whether a job holds the lock or waits for it."""

    def snapshot(self) -> Snapshot:
        """The cluster now."""
