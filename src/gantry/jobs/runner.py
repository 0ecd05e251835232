"""A job from its first operation to its end; one task a job.

The order of things is the same for all operations:
locks, check, examine, reserve, pre scripts, run, final commit, post scripts.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Mapping
from typing import Any

import msgspec

from gantry.jobs import dry_run, limits
from gantry.jobs.attempt import Attempt
from gantry.jobs.codec import DebrisRecord, Direction, PlanRecord, TurnRecord
from gantry.jobs.context import Context
from gantry.jobs.debris import Debris
from gantry.jobs.distributor import Distributor
from gantry.jobs.entry import Entry, Halt
from gantry.jobs.finishing import finish
from gantry.jobs.journal import Lost
from gantry.jobs.locks import FIRST, Request
from gantry.jobs.steps import Recorded
from gantry.jobs.unwinding import unwind
from gantry.model.errors import (
    Cancelled,
    GantryError,
    OperationFailed,
    Reason,
    Rejected,
    from_info,
)
from gantry.model.jobs import DryRun, Job, JobStatus
from gantry.model.locks import Needs
from gantry.model.names import JobId
from gantry.operations import registry
from gantry.operations.base import AnyOperation, Operation

logger = logging.getLogger(__name__)


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What an earlier master's journal says of the operation that it was carrying out."""

    plan: PlanRecord
    turn: TurnRecord | None
    recorded: list[Recorded]
    debris: dict[str, DebrisRecord] = msgspec.field(default_factory=dict)


class Runner:
    """Runs jobs; ``entries`` are all that are not archived."""

    def __init__(
        self,
        context: Context,
        debris: Debris,
        distributor: Distributor,
        entries: Mapping[JobId, Entry],
    ) -> None:
        self._context = context
        self._debris = debris
        self._distributor = distributor
        self._entries = entries

    async def run(
        self, entry: Entry, operations: list[AnyOperation] | None, left: Left | None = None
    ) -> None:
        """The job's task; ends with the job, or silently with the master."""
        try:
            await self._run(entry, operations, left)
        except Lost:
            return
        except (Exception, Halt):
            logger.exception("job %s could not be ended in order", entry.id)
            await self._end_bare(entry)

    async def _end_bare(self, entry: Entry) -> None:
        """The last resort: that the job is over, and nothing else. Its undos are not done."""
        error = limits.error(_unfinished(entry).info())
        now = self._context.clock.now()
        ops = tuple(
            record
            if record.status.ended
            else msgspec.structs.replace(record, status=JobStatus.ERROR, error=error, end=now)
            for record in entry.job.ops
        )
        job = msgspec.structs.replace(
            limits.bare(msgspec.structs.replace(entry.job, ops=ops)),
            status=JobStatus.ERROR,
            ended=now,
        )
        try:
            async with entry.lock:
                entry.settled = True
                await self._written(entry, job)
                entry.log = None
        except Lost:
            return
        except Exception:
            logger.exception("job %s could not be ended at all", entry.id)
            self._context.journal.fault(f"job {entry.id} could not be ended")

    async def _written(self, entry: Entry, job: Job) -> None:
        """With the job's log, from which one may learn what went wrong; else without it."""
        try:
            await self._context.journal.job(entry, job, entry.last_words())
        except Lost:
            raise
        except Exception:
            logger.exception("the log of job %s cannot be kept", entry.id)
            await self._context.journal.job(entry, job)

    async def _run(
        self, entry: Entry, operations: list[AnyOperation] | None, left: Left | None
    ) -> None:
        try:
            if left is not None:
                await self._take_up(entry, left)
            else:
                await self._depend(entry)
            if operations is None:
                operations = [registry.load(record.input) for record in entry.job.ops]
            while entry.current < len(operations):
                await self._operation(entry, entry.current, operations[entry.current])
        except Halt as halt:
            await self._refuse(entry, halt.error)
        except GantryError as error:
            await self._refuse(entry, error)
        except Exception:
            logger.exception("job %s", entry.id)
            await self._refuse(entry, internal(entry))

    async def _operation(self, entry: Entry, index: int, operation: AnyOperation) -> None:
        request, needs = await self._acquire(entry, operation)
        attempt = Attempt(self._context, entry, index, operation, needs)
        try:
            await self._guarded(attempt, self._begin(attempt))
        finally:
            self._let_go(entry, request)

    async def _take_up(self, entry: Entry, left: Left) -> None:
        """Go on with the operation that an earlier master was carrying out."""
        context, index, lost = self._context, entry.current, None
        try:
            operation = registry.load(entry.job.ops[index].input)
        except Rejected as error:
            operation, lost = Operation(), error
        attempt = Attempt(context, entry, index, operation, left.plan.needs)
        entry.began = True
        try:
            await self._guarded(attempt, self._resume(attempt, left, lost))
        finally:
            if entry.request is not None:
                self._let_go(entry, entry.request)

    async def _begin(self, attempt: Attempt) -> None:
        await attempt.prepare()
        attempt.entry.check_cancelled()
        if attempt.entry.job.dry_run is not DryRun.NO:
            await dry_run.rehearse(attempt)
            return
        await attempt.forward()

    async def _resume(self, attempt: Attempt, left: Left, lost: GantryError | None) -> None:
        try:
            attempt.resume(left.plan, left.recorded, left.turn)
        except msgspec.ValidationError as error:
            lost = _changed(error)
        if left.turn is not None and left.turn.direction is Direction.UNWINDING:
            raise Halt(_cause(left.turn))
        if left.turn is None and lost is not None:
            raise Halt(lost)
        if left.turn is None:
            await attempt.forward()
        else:
            attempt.entry.settled = True
            attempt.debris = left.debris

    async def _guarded(self, attempt: Attempt, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work``; whatever goes wrong before the final commit is undone."""
        try:
            await work
        except Halt as halt:
            error = halt.error
        except GantryError as failure:
            # With its traceback it would be part of a circle, together with all that it passed.
            error = failure.with_traceback(None)
        except Exception:
            logger.exception("job %s, operation %s", attempt.entry.id, attempt.op)
            error = internal(attempt.entry)
        else:
            await finish(attempt, self._debris, self._distributor)
            return
        await unwind(attempt, error)
        for key, record in attempt.debris.items():
            self._debris.add(key, record)

    async def _acquire(self, entry: Entry, operation: AnyOperation) -> tuple[Request, Needs]:
        """All locks of the operation; asked for again where waiting changed what is needed."""
        context = self._context
        entry.began = entry.settled = False
        while True:
            needs = operation.needs(context.state.snapshot())
            within = self._within(entry)
            request = context.locks.request(
                entry.id,
                FIRST if within else entry.job.priority,
                needs,
                slot=not within,
            )
            entry.request = request
            if request.granted:
                return request, needs
            try:
                await self._wait(entry, request)
                if operation.needs(context.state.snapshot()) == needs:
                    return request, needs
            except BaseException:
                self._let_go(entry, request)
                raise
            context.locks.release(request)

    async def _wait(self, entry: Entry, request: Request) -> None:
        job = msgspec.structs.replace(entry.job, status=JobStatus.WAITING)
        await self._keep(entry, job)
        await request.wait()

    async def _keep(self, entry: Entry, job: Job) -> None:
        """Make a job durable that cannot begin now; answers who submitted it."""
        if entry.revision == 0:
            async with entry.lock:
                entry.check_cancelled()
                await self._context.journal.job(entry, job)
        else:
            entry.show(job)

    async def _depend(self, entry: Entry) -> None:
        """Until the jobs that this one depends on have ended, and as it wants them to."""
        for dependency in entry.job.depends:
            other = self._entries.get(dependency.job)
            if other is None:
                continue
            if not other.done:
                entry.waits_for = (dependency.job,)
                job = msgspec.structs.replace(entry.job, status=JobStatus.WAITING)
                await self._keep(entry, job)
                await other.over()
                entry.waits_for = ()
            status = other.job.status
            if dependency.statuses and status not in dependency.statuses:
                raise Rejected(
                    f"job {dependency.job}, which this one depends on, ended as {status}",
                    f"see gnt-job info {dependency.job}",
                    reason=Reason.STATE,
                )

    def _within(self, entry: Entry) -> bool:
        """Whether a running job's own hook waits for this one."""
        parent = self._entries.get(entry.within_job) if entry.within_job is not None else None
        return parent is not None and not parent.job.status.ended

    def _let_go(self, entry: Entry, request: Request) -> None:
        self._context.reservations.drop(entry.id)
        self._context.locks.release(request)
        entry.request = None

    async def _refuse(self, entry: Entry, error: GantryError) -> None:
        """End a job whose operation has not begun."""
        attempt = Attempt(self._context, entry, entry.current, Operation(), Needs())
        await unwind(attempt, error)


def internal(entry: Entry) -> GantryError:
    """What a user hears of a fault of ours."""
    return OperationFailed(
        f"job {entry.id} met a fault in Gantry itself; what it had done was undone",
        "the master's log has the details; please report them",
        reason=Reason.INTERNAL,
    )


def _unfinished(entry: Entry) -> GantryError:
    return OperationFailed(
        f"job {entry.id} met a fault in Gantry itself and could not be ended in order;"
        " what it had done may be left over",
        "the master's log has the details; see gnt-cluster verify",
        reason=Reason.INTERNAL,
    )


def _changed(error: msgspec.ValidationError) -> GantryError:
    return OperationFailed(
        f"the program was changed while the job ran, and its plan cannot be read: {error}",
        "what had been done was undone: submit the job again",
    )


def _cause(turn: TurnRecord) -> GantryError:
    if turn.error is None:
        return OperationFailed("the operation was being undone")
    error = from_info(turn.error)
    return Cancelled(error.message, error.hint) if turn.canceled else error
