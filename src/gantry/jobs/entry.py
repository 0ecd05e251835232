"""A job in the master's memory: its record, its log, and what is going on with it now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gantry.jobs import codec
from gantry.jobs.codec import StoredJob
from gantry.jobs.locks import Request
from gantry.jobs.log import Log
from gantry.model.errors import Cancelled, GantryError
from gantry.model.jobs import Job
from gantry.model.names import JobId
from gantry.ports.agents import Address
from gantry.ports.store import Put


class Halt(BaseException):
    """Ends an operation's ``run`` from within a step; no ``except Exception`` there stops it."""

    def __init__(self, error: GantryError) -> None:
        super().__init__(error.message)
        self.error = error


class Entry:
    """One job. ``lock`` is held while the job's record is written, by whomever.

    ``revision`` is the record's in the store, 0 before the first commit. ``began`` is set with
    the first commit of the current operation that allows effects: from then on a cancel means
    undoing. ``undoing`` is set when that begins, and ``settled`` with the final commit: from then
    on a cancel is too late.

    Thousands of ended ones are kept: nothing is made here that only a job under way needs.
    """

    __slots__ = (
        "_bell",
        "acknowledged",
        "began",
        "cancel_wanted",
        "done",
        "job",
        "lock",
        "log",
        "orders",
        "request",
        "revision",
        "secret",
        "secrets",
        "settled",
        "task",
        "told",
        "touched",
        "undoing",
        "waits_for",
        "within_job",
    )

    def __init__(self, job: Job, within_job: JobId | None = None) -> None:
        self.job = job
        self.within_job = within_job
        self.secret: tuple[int, ...] = ()
        self.secrets: tuple[dict[str, str], ...] = ()
        self.log: Log | None = Log()
        self.revision = 0
        self.lock = asyncio.Lock()
        self.acknowledged: asyncio.Future[JobId] | None = None
        self.done = False
        """Whether nobody needs to wait for the job's end any more."""
        self._bell: asyncio.Event | None = None
        self.request: Request | None = None
        self.waits_for: tuple[JobId, ...] = ()
        self.task: asyncio.Task[None] | None = None
        self.cancel_wanted = False
        self.began = False
        self.undoing = False
        self.settled = False
        self.orders: dict[str, Address] = {}
        self.told: Callable[[], None] | None = None
        self.touched: dict[str, Address] = {}
        """Nodes that were sent something, by uuid."""

    @property
    def id(self) -> JobId:
        """The job's number."""
        return self.job.id

    @property
    def current(self) -> int:
        """The index of the first operation that has not ended."""
        for index, record in enumerate(self.job.ops):
            if not record.status.ended:
                return index
        return len(self.job.ops)

    def record(self, job: Job) -> StoredJob:
        """What the store keeps when the job is as ``job``."""
        return StoredJob(job=job, within_job=self.within_job, secret=self.secret)

    def show(self, job: Job) -> None:
        """``job`` is the state from now on; followers and waiters are told."""
        self.job = job
        if self.log is not None:
            self.log.ring()
        if job.status.ended:
            self.end()
        if self.told is not None:
            self.told()

    def end(self) -> None:
        """Whoever waits for the job's end goes on: it has come, or never will from this master."""
        self.done = True
        if self._bell is not None:
            self._bell.set()
            self._bell = None

    async def over(self) -> None:
        """Until ``end``."""
        if self.done:
            return
        if self._bell is None:
            self._bell = asyncio.Event()
        await self._bell.wait()

    def last_words(self) -> list[Put]:
        """What the store keeps of the log, with the commit that ends the job."""
        tail = self.log.tail() if self.log is not None else ()
        if not tail:
            return []
        return [Put(codec.log_key(self.id), codec.encode(codec.StoredLog(entries=tail)))]

    def rest(self) -> None:
        """The job's task is over: only what clients may ask for is kept."""
        if self.acknowledged is not None and self.acknowledged.done():
            self.acknowledged = None
        self.secrets = ()

    def check_cancelled(self) -> None:
        """Raise Halt where somebody asked for the job's end."""
        if self.cancel_wanted and not self.settled:
            raise Halt(Cancelled(f"job {self.id} was cancelled"))
