"""``ports.queue.Queue`` in memory: jobs end when the test says so, or at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from gantry.model.entities import AnyEntity
from gantry.model.errors import ErrorInfo, Reason, Rejected
from gantry.model.jobs import (
    Job,
    JobChange,
    JobStatus,
    LogEntry,
    LogKind,
    OpRecord,
    Submission,
)
from gantry.model.live import NodeLive
from gantry.model.locks import Lock
from gantry.model.names import JobId, Uuid
from gantry.model.orders import Nothing, Order
from gantry.model.replicas import MirrorChange, all_changed
from gantry.model.snapshot import Snapshot, build

A = TypeVar("A", bound=msgspec.Struct)


class _Kept:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.log: list[LogEntry] = []
        self.changed = asyncio.Condition()


class FakeQueue:
    """``at_once``: every job succeeds as soon as it is submitted."""

    def __init__(
        self, entities: Iterable[AnyEntity], live: dict[Uuid, NodeLive] | None = None
    ) -> None:
        self.cluster = build(1, entities, live)
        self.at_once = False
        self.result: object = None
        """Of operations that succeed."""
        self.refuse: Exception | None = None
        """What the next submissions are answered with."""
        self.submissions: list[Submission] = []
        self.cancelled: list[tuple[JobId, bool]] = []
        self.followers = 0
        self.did: list[MirrorChange | tuple[Uuid, Order[Any]]] = []
        """Changes of replicas and orders outside of jobs, as they came."""
        self.refuse_order: Callable[[Uuid, Order[Any]], Exception | None] | None = None
        self._jobs: dict[JobId, _Kept] = {}
        self._bell = asyncio.Condition()

    # Of the port

    async def submit(self, submission: Submission) -> JobId:
        """See the port."""
        if self.refuse is not None:
            raise self.refuse
        for kept in self._jobs.values():
            if kept.job.request_id == submission.request_id:
                return kept.job.id
        number = JobId(len(self._jobs) + 1)
        self.submissions.append(submission)
        job = Job(
            id=number,
            uid=f"uid-{number}",
            ops=tuple(OpRecord(input=op) for op in submission.ops),
            priority=submission.priority,
            request_id=submission.request_id,
            requester=submission.requester,
            summary=tuple(str(op.get("OP_ID", "")).removeprefix("OP_") for op in submission.ops),
            received=1000.0 + number,
        )
        self._jobs[number] = _Kept(job)
        await self._ring()
        if self.at_once:
            await self.end(number)
        return number

    async def wait(self, job: JobId) -> Job:
        """See the port."""
        kept = self._known(job)
        async with kept.changed:
            await kept.changed.wait_for(lambda: kept.job.status.ended)
        return kept.job

    async def follow(self, job: JobId, after: int = 0) -> AsyncIterator[JobChange]:
        """See the port."""
        kept = self._known(job)
        told: JobStatus | None = None
        self.followers += 1
        await self._ring()
        try:
            while True:
                entries = tuple(one for one in kept.log if one.serial > after)
                now = kept.job
                if entries or now.status is not told:
                    after = entries[-1].serial if entries else after
                    yield JobChange(entries=entries, job=now if now.status is not told else None)
                    told = now.status
                elif now.status.ended:
                    return
                else:
                    async with kept.changed:
                        await kept.changed.wait_for(
                            lambda kept=kept, told=told, after=after: (  # type: ignore[misc]
                                kept.job.status is not told or len(kept.log) > after
                            )
                        )
        finally:
            self.followers -= 1
            await self._ring()

    async def get(self, job: JobId) -> Job:
        """See the port."""
        return self._known(job).job

    async def log(self, job: JobId) -> tuple[LogEntry, ...]:
        """See the port."""
        return tuple(self._known(job).log)

    def jobs(self) -> Sequence[Job]:
        """See the port."""
        return [kept.job for kept in self._jobs.values() if not kept.job.archived]

    async def archived(self) -> Sequence[Job]:
        """See the port."""
        return [kept.job for kept in self._jobs.values() if kept.job.archived]

    async def cancel(self, job: JobId, *, kill: bool = False) -> str:
        """See the port."""
        kept = self._known(job)
        self.cancelled.append((job, kill))
        if kept.job.status.ended:
            raise Rejected(f"job {job} has ended already", reason=Reason.STATE)
        await self.end(job, JobStatus.CANCELED)
        return f"job {job} is cancelled: it had not begun"

    async def change_priority(self, job: JobId, priority: int) -> None:
        """See the port."""
        await self._change(job, priority=priority)

    async def archive(self, jobs: Sequence[JobId]) -> Sequence[JobId]:
        """See the port."""
        moved = [job for job in jobs if self._known(job).job.status.ended]
        for job in moved:
            await self._change(job, archived=True)
        return moved

    async def auto_archive(self, age: float) -> int:
        """See the port; everything here ended long ago."""
        ended = [job.id for job in self.jobs() if job.status.ended]
        return len(await self.archive(ended))

    async def change(
        self,
        put: Iterable[AnyEntity] = (),
        delete: Iterable[AnyEntity] = (),
        mirrors: Iterable[MirrorChange] = (),
    ) -> None:
        """See the port."""
        changes = tuple(mirrors)
        self.did.extend(changes)
        changed = all_changed(self.cluster.mirrors, changes)
        revision = self.cluster.revision + 1
        self.cluster = self.cluster.with_changes(revision, [*put, *changed], delete)

    async def tell(self, node: Uuid, order: Order[A], timeout: float) -> A:
        """See the port; ``refuse_order`` may say what is answered."""
        self.did.append((node, order))
        if self.refuse_order is not None and (error := self.refuse_order(node, order)):
            raise error
        answer: Any = Nothing()
        return answer  # type: ignore[no-any-return]  # only such orders are given here

    def concerns(self, lock: Lock) -> bool:
        """See the port; nothing here holds a lock."""
        return False

    def snapshot(self) -> Snapshot:
        """See the port."""
        return self.cluster

    # For tests

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until jobs and followers are as ``condition`` says."""
        async with asyncio.timeout(100), self._bell:
            await self._bell.wait_for(condition)

    async def say(self, job: JobId, text: str) -> None:
        """One more line in the job's log."""
        kept = self._known(job)
        serial = len(kept.log) + 1
        kept.log.append(LogEntry(serial=serial, time=2000.0, kind=LogKind.MESSAGE, text=text))
        async with kept.changed:
            kept.changed.notify_all()

    async def begin(self, job: JobId) -> None:
        """It runs."""
        await self._change(job, status=JobStatus.RUNNING, started=1500.0)

    async def end(
        self, job: JobId, status: JobStatus = JobStatus.SUCCESS, error: ErrorInfo | None = None
    ) -> None:
        """It has ended."""
        ops = tuple(
            msgspec.structs.replace(op, status=status, error=error, result=op.result or self.result)
            for op in self._known(job).job.ops
        )
        await self._change(job, status=status, ops=ops, ended=3000.0)

    def put(self, *entities: AnyEntity) -> None:
        """The cluster changes."""
        self.cluster = self.cluster.with_changes(self.cluster.revision + 1, entities)

    def set_live(self, node: Uuid, live: NodeLive) -> None:
        """What is true on a node from now on."""
        self.cluster = msgspec.structs.replace(self.cluster, live={**self.cluster.live, node: live})

    async def _ring(self) -> None:
        async with self._bell:
            self._bell.notify_all()

    async def _change(self, job: JobId, **fields: object) -> None:
        kept = self._known(job)
        kept.job = msgspec.structs.replace(kept.job, **fields)
        async with kept.changed:
            kept.changed.notify_all()

    def _known(self, job: JobId) -> _Kept:
        kept = self._jobs.get(job)
        if kept is None:
            raise Rejected(
                f"there is no job {job}", "gnt-job list shows them", reason=Reason.UNKNOWN
            )
        return kept
