"""The job queue: what clients ask of it. How a job runs is the runner's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Final, TypeVar

import msgspec

from gantry.hooks.policy import NONE, Policy
from gantry.jobs import admission, cancelling, issue, recovery
from gantry.jobs.archive import Archiver, History
from gantry.jobs.context import Context
from gantry.jobs.debris import Debris
from gantry.jobs.distributor import Distributor
from gantry.jobs.election import Mastership
from gantry.jobs.entry import Entry
from gantry.jobs.journal import Journal, told_unavailable, unavailable
from gantry.jobs.locks import LockTable, LockView
from gantry.jobs.reservations import Reservations
from gantry.jobs.runner import Left, Runner
from gantry.jobs.state import LiveStates, State
from gantry.jobs.uploads import Uploads
from gantry.model.entities import AnyEntity
from gantry.model.errors import Reason, Rejected, Superseded
from gantry.model.jobs import Job, JobChange, JobStatus, LogEntry, Submission
from gantry.model.live import NodeLive
from gantry.model.locks import Lock
from gantry.model.names import JobId, Uuid
from gantry.model.orders import Order
from gantry.model.replicas import MirrorChange
from gantry.model.snapshot import Snapshot
from gantry.operations.base import AnyOperation
from gantry.ports.agents import Agents
from gantry.ports.clock import Clock
from gantry.ports.store import Store

A = TypeVar("A", bound=msgspec.Struct)

MAX_JOBS: Final = 5000
"""Jobs that have not ended; more are refused."""

STOP: Final = 5.0
"""Seconds that closing what is done may take when the master ends."""


class Engine:
    """Implements ``gantry.ports.queue.Queue``; use ``await Engine.open(…)``, then ``start()``."""

    def __init__(
        self,
        store: Store,
        agents: Agents,
        clock: Clock,
        mastership: Mastership,
        history: History,
        kept: recovery.Kept,
        live: LiveStates,
        hook_policy: Callable[[], Policy] = lambda: NONE,
    ) -> None:
        reservations = Reservations()
        state = State(kept.snapshot, live, reservations)
        self.live = live
        self._store = store
        self._kept: recovery.Kept | None = kept
        self._entries = kept.entries
        self._requests = {
            entry.job.request_id: entry for entry in kept.entries.values() if entry.job.request_id
        }
        self._journal = Journal(store, mastership.revision, state, mastership.lease_left)
        self._context = Context(
            journal=self._journal,
            agents=agents,
            clock=clock,
            state=state,
            locks=LockTable(lambda: self.snapshot().cluster.max_running_jobs),
            reservations=reservations,
            mastership=mastership,
            hook_policy=hook_policy,
        )
        self._context.submit = self.submit
        self._debris = Debris(self._context)
        self.distributor = Distributor(self._context)
        self.uploads = Uploads(self._context)
        self._runner = Runner(self._context, self._debris, self.distributor, self._entries)
        self._archiver = Archiver(self._context, store, history, kept, self._requests)
        self._told: Callable[[], None] | None = None
        self._drained = self._stopping = False
        self._slots = self.snapshot().cluster.max_running_jobs
        state.on_change(self._changed)

    @classmethod
    async def open(
        cls,
        store: Store,
        agents: Agents,
        clock: Clock,
        mastership: Mastership,
        history: History,
        live: LiveStates | None = None,
        hook_policy: Callable[[], Policy] = lambda: NONE,
    ) -> Engine:
        """Read everything back from the store; nothing runs yet.

        ``hook_policy`` reads what the master node's ``hooks.toml`` says; it raises PolicyError.
        """
        kept = await recovery.read(store)
        kept.highest = max(kept.highest, await history.highest())
        heard = [one.job for one in mastership.announced.values()]
        kept.highest = recovery.highest(kept.highest, heard)
        live = live or LiveStates()
        return cls(store, agents, clock, mastership, history, kept, live, hook_policy)

    async def start(self) -> None:
        """Go on with all jobs; those that were running first, for they hold locks."""
        kept, self._kept = self._kept, None
        assert kept is not None
        self._debris.recall(kept.debris)
        for job in kept.left:
            await self._journal.attempt(self._entries[job])
        # All locks of running jobs are held again before anybody else may ask for one.
        for job, left in kept.left.items():
            entry = self._entries[job]
            entry.request = self._context.locks.hold(job, left.plan.needs)
            self._launch(entry, None, left)
        waiting = [entry for entry in self._entries.values() if entry.task is None]
        for entry in sorted(waiting, key=lambda one: (one.job.priority, one.id)):
            if not entry.job.status.ended:
                self._launch(entry, None)
        self._context.background.start(self._journal.delete(kept.stale))
        self._debris.all_back()
        self.distributor.soon()

    async def stop(self) -> None:
        """End in order: what is done is closed, effects under way are the next master's."""
        await self._end_jobs()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP):
                await self._context.background.settle()
        await self._context.background.stop()

    async def abandon(self) -> None:
        """End at once, as a crash would."""
        await self._end_jobs()
        await self._context.background.stop()

    async def _end_jobs(self) -> None:
        self._stopping = True
        self.distributor.close()
        self._debris.close()
        tasks = [entry.task for entry in self._entries.values() if entry.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def settle(self) -> None:
        """Until everything that goes on in the background is done."""
        await self._context.background.settle()

    @property
    def idle(self) -> bool:
        """Whether no job runs or waits, and nothing is owed to a node."""
        return self._context.locks.idle and not self._debris.owed

    async def failed(self) -> None:
        """Waits for ever, or raises why this process must not be master any more."""
        await asyncio.shield(self._journal.failed)

    def superseded(self, error: Superseded) -> None:
        """A node that came has heard of a newer master: this one must end."""
        self._journal.superseded(error)

    @property
    def awaited_commits(self) -> int:
        """Transactions so far; the store counts them too."""
        return self._journal.awaited

    async def submit(self, submission: Submission, *, internal: bool = False) -> JobId:
        """Take a job, durably; see ``gantry.ports.queue``. ``internal`` ones are our own."""
        again = self._requests.get(submission.request_id)
        if again is not None:
            return await self._acknowledged(again)
        if self._stopping:
            raise unavailable()
        operations = admission.operations(submission, internal=internal)
        self._admit(submission, operations)
        entry = admission.entry(submission, operations, self._archiver.next_id(), self._context)
        entry.acknowledged = asyncio.get_running_loop().create_future()
        entry.told = self._told
        self._entries[entry.id] = entry
        if submission.request_id:
            self._requests[submission.request_id] = entry
        self._launch(entry, operations)
        return await self._acknowledged(entry)

    async def wait(self, job: JobId) -> Job:
        """The job when it has ended."""
        entry = self._entries.get(job)
        if entry is None:
            return await self.get(job)
        await entry.over()
        if not entry.job.status.ended:
            raise unavailable()
        return entry.job

    async def follow(self, job: JobId, after: int = 0) -> AsyncIterator[JobChange]:
        """The log after serial ``after`` and every change of status; ends with the job."""
        entry = self._entries.get(job)
        told: Job | None = None
        while entry is not None and (log := entry.log) is not None:
            now, entries = entry.job, log.after(after)
            if told is None or now.status is not told.status or entries:
                changed = now if told is None or now.status is not told.status else None
                told, after = now, entries[-1].serial if entries else after
                yield JobChange(entries=entries, job=changed)
            elif now.status.ended:
                return
            elif self._stopping:
                raise unavailable()
            else:
                await log.changed()
        ended = await self.get(job)
        entries = tuple(line for line in await self.log(job) if line.serial > after)
        if entries or told is None or not told.status.ended:
            yield JobChange(entries=entries, job=ended)

    async def get(self, job: JobId) -> Job:
        """One job, archived or not."""
        entry = self._entries.get(job)
        if entry is not None:
            return self._shown(entry)
        return await self._archiver.get(job)

    async def log(self, job: JobId) -> tuple[LogEntry, ...]:
        """The log of one job, archived or not."""
        entry = self._entries.get(job)
        if entry is not None and entry.log is not None:
            return entry.log.after(0)
        return await self._archiver.log(job)

    def jobs(self) -> Sequence[Job]:
        """All jobs that are not archived, by id."""
        return [self._shown(entry) for entry in self._entries.values()]

    async def archived(self) -> Sequence[Job]:
        """The archived jobs, by id."""
        return await self._archiver.jobs()

    async def cancel(self, job: JobId, *, kill: bool = False) -> str:
        """End a job that has not begun; with ``kill`` undo one that runs."""
        return await cancelling.cancel(self._context, self._known(job), kill=kill)

    async def change_priority(self, job: JobId, priority: int) -> None:
        """Of a job that has not begun."""
        admission.check_priority(priority)
        entry = self._known(job)
        async with entry.lock:
            if entry.began or entry.settled or entry.job.status.ended:
                raise admission.state(entry, "has begun", "a priority only matters before that")
            await self._journal.job(entry, msgspec.structs.replace(entry.job, priority=priority))
            if entry.request is not None:
                self._context.locks.reorder(entry.request, priority)

    async def archive(self, jobs: Sequence[JobId]) -> Sequence[JobId]:
        """Move ended jobs out of the store; returns those that were moved."""
        return await self._archiver.archive([self._known(job) for job in jobs])

    async def auto_archive(self, age: float) -> int:
        """Archive what ended more than ``age`` seconds ago; returns how many."""
        limit = self._context.clock.now() - age
        old = [
            entry
            for entry in self._entries.values()
            if entry.job.ended is not None and entry.job.ended <= limit
        ]
        return len(await self._archiver.archive(old))

    def snapshot(self) -> Snapshot:
        """The cluster now."""
        return self._context.state.snapshot()

    def drain(self, *, on: bool) -> None:
        """Refuse new jobs, or take them again."""
        self._drained = on

    async def change(
        self,
        put: Iterable[AnyEntity] = (),
        delete: Iterable[AnyEntity] = (),
        mirrors: Iterable[MirrorChange] = (),
    ) -> None:
        """Write objects outside of any job (tokens, machines that join, replicas' states)."""
        with told_unavailable():
            await self._journal.write([], put=put, delete=delete, mirrors=mirrors)

    async def tell(self, node: Uuid, order: Order[A], timeout: float) -> A:
        """An order outside of any job, once; see ``gantry.ports.queue``."""
        with told_unavailable():
            return await issue.alone(self._context, node, order, timeout)

    def on_change(self, told: Callable[[], None]) -> None:
        """Call ``told`` after every commit that changes objects."""
        self._context.state.on_change(told)

    def on_job(self, told: Callable[[], None]) -> None:
        """Call ``told`` whenever the status of any job has changed."""
        self._told = told
        for entry in self._entries.values():
            entry.told = told

    def concerns(self, lock: Lock) -> bool:
        """Whether a job holds the lock or waits for it."""
        return self._context.locks.known(lock)

    def locks(self) -> list[LockView]:
        """All locks that somebody holds or waits for."""
        return self._context.locks.view()

    def set_live(self, node: Uuid, live: NodeLive) -> None:
        """What is true on a node now; one that says anew what it has gets what it is owed."""
        before = self.live.nodes.get(node)
        self.live.set_live(node, live)
        if live.reachable and (before is None or not before.reachable):
            self.distributor.forget(node)
            self.distributor.soon()
        if live.reachable and (before is None or before.facts is not live.facts):
            self._debris.node_back(node)

    def _admit(self, submission: Submission, operations: list[AnyOperation]) -> None:
        if self._drained:
            raise Rejected(
                "the job queue takes no new jobs: it is drained",
                "gnt-cluster queue undrain",
                reason=Reason.STATE,
            )
        running = len(self._entries) - self._archiver.kept
        if running >= MAX_JOBS:
            raise Rejected(
                f"the job queue is full: {running} jobs have not ended yet",
                "wait until some have",
                reason=Reason.TEMPORARILY_NO_RESOURCES,
            )
        admission.check_depends(submission, self._entries)
        admission.check_within(
            submission, operations, self._entries, self._context.locks, self.snapshot()
        )

    def _launch(
        self, entry: Entry, operations: list[AnyOperation] | None, left: Left | None = None
    ) -> None:
        work = self._runner.run(entry, operations, left)
        entry.task = asyncio.get_running_loop().create_task(work)
        entry.task.add_done_callback(lambda _: self._left(entry))

    def _left(self, entry: Entry) -> None:
        """The job's task is over; whoever waits hears of it, also where the master ends."""
        entry.task = None
        if entry.job.status.ended:
            entry.rest()
            self._archiver.ended()
        else:
            if not self._stopping:
                self._journal.fault(f"job {entry.id} was left by its task")
            answer = entry.acknowledged
            if answer is not None and not answer.done():
                answer.set_exception(unavailable())
                answer.exception()
            entry.end()
            self._stopping = True
            if entry.log is not None:
                entry.log.ring()

    def _changed(self) -> None:
        slots = self.snapshot().cluster.max_running_jobs
        if slots != self._slots:
            self._slots = slots
            self._context.locks.slots_changed()

    async def _acknowledged(self, entry: Entry) -> JobId:
        if entry.acknowledged is not None:
            await asyncio.shield(entry.acknowledged)
        return entry.id

    def _shown(self, entry: Entry) -> Job:
        if entry.job.status is not JobStatus.WAITING:
            return entry.job
        return msgspec.structs.replace(
            entry.job, waiting_for=admission.waits_for(entry, self._context)
        )

    def _known(self, job: JobId) -> Entry:
        entry = self._entries.get(job)
        if entry is None:
            raise admission.unknown(job)
        return entry
