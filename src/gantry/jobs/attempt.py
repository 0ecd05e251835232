"""One operation of a job on its way forward: check, reserve, scripts, run, final commit.

What happens when it fails is in ``unwinding``; which operation comes next, in ``runner``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gantry.hooks.failure import FailureKind
from gantry.jobs import codec, issue, limits
from gantry.jobs.codec import Direction, PlanRecord, TurnRecord
from gantry.jobs.context import Context
from gantry.jobs.draw import Draw
from gantry.jobs.entry import Entry
from gantry.jobs.journal import ROOM
from gantry.jobs.phases import Phases
from gantry.jobs.steps import JournaledSteps, Recorded
from gantry.model.codec import decode as decode_entity
from gantry.model.codec import encode as encode_entity
from gantry.model.entities import CLUSTER_KEY, AnyEntity
from gantry.model.entities import key as entity_key
from gantry.model.errors import ErrorInfo, OperationFailed
from gantry.model.jobs import Job, JobStatus, OpRecord
from gantry.model.locks import Needs
from gantry.model.snapshot import Snapshot
from gantry.operations.base import AnyOperation, Plan
from gantry.operations.base import Operation as BaseOperation
from gantry.ports.steps import Outcome
from gantry.ports.store import Delete, LimitExceeded, Operation, Put

logger = logging.getLogger(__name__)

PATIENCE: Final = 0.05
"""Seconds that nodes may take to answer before a submission is acknowledged without them."""


class Attempt:
    """One operation being carried out by this master; made anew after a crash."""

    def __init__(
        self, context: Context, entry: Entry, op: int, operation: AnyOperation, needs: Needs
    ) -> None:
        self.context = context
        self.entry = entry
        self.op = op
        self.operation = operation
        self.needs = needs
        self.now = context.clock.now()
        self.run_id = ""
        self.plan: Plan = Plan()
        self.phases = Phases(context, entry, op, operation)
        self.turn: TurnRecord | None = None
        self.debris: dict[str, codec.DebrisRecord] = {}
        self.resumed = False
        """Whether an earlier master began it."""
        self.planned = False
        """Whether the store has the plan."""
        self.steps = self._steps(())

    def resume(self, record: PlanRecord, recorded: list[Recorded], turn: TurnRecord | None) -> None:
        """Take over what an earlier master journaled; msgspec.ValidationError if it cannot be."""
        self.planned = self.resumed = True
        self.turn = turn
        self.now, self.run_id, self.needs = record.now, record.run_id, record.needs
        self.steps = self._steps(recorded, lost=record.secret)
        self.plan = msgspec.json.decode(record.plan, type=self.operation.plan_type)
        if turn is None or turn.direction is Direction.UNWINDING:
            self.context.reservations.take(self.entry.id, self.plan)
        self.phases.plan(self.plan, self.run_id, self._snapshot_before())
        # The plan was durable, and nothing is known of the pre scripts that were next.
        self.phases.asked = self.phases.asks
        self.phases.first_master = record.master

    async def prepare(self) -> None:
        """Check, reserve, examine; raises GantryError with nothing done."""
        context, operation = self.context, self.operation
        snapshot = context.state.snapshot()
        draw = Draw(context, self.entry, self.op, self.now)
        self.plan = operation.check(snapshot, draw)
        context.reservations.take(self.entry.id, self.plan)
        if _examines(operation):
            self.plan = await self._examined(snapshot, draw)
            context.reservations.take(self.entry.id, self.plan)
        self.run_id = context.clock.uuid() if operation.hooked else ""
        self.phases.plan(self.plan, self.run_id, context.state.snapshot())

    async def _examined(self, snapshot: Snapshot, draw: Draw) -> Plan:
        """The plan as the nodes' answers leave it; a client does not wait for slow ones."""
        work = asyncio.ensure_future(self.operation.examine(self.plan, snapshot, draw))
        try:
            done, _ = await asyncio.wait([work], timeout=PATIENCE)
            if not done and self.entry.revision == 0:
                async with self.entry.lock:
                    self.entry.check_cancelled()
                    await self.context.journal.job(self.entry, self.begun())
            plan: Plan = await work
            return plan
        finally:
            work.cancel()

    async def forward(self) -> None:
        """Run, and make the outcome durable; raises what went wrong, or Halt."""
        outcome = await self.operation.run(self.plan, self.steps)
        if self.phases.asks:
            await self.steps.pass_gate()
        self.steps.say_held()
        await self._final(outcome)

    def job(self, overall: JobStatus, **changes: Any) -> Job:
        """The job as it would be with status ``overall``, and the operation's record changed."""
        now, job = self.context.clock.now(), self.entry.job
        ops = list(job.ops)
        ops[self.op] = msgspec.structs.replace(ops[self.op], **changes)
        return msgspec.structs.replace(
            job, status=overall, ops=tuple(ops), started=job.started or now, waiting_for=()
        )

    def begun(self) -> Job:
        """The job once this operation is running."""
        now, record = self.context.clock.now(), self.entry.job.ops[self.op]
        return self.job(
            JobStatus.RUNNING,
            status=JobStatus.RUNNING,
            start=record.start or now,
            execution=record.execution or now,
        )

    def ended(
        self, status: JobStatus, *, result: Any = None, error: ErrorInfo | None = None
    ) -> Job:
        """The job once this operation has ended: the next one waits, or the job has ended."""
        now, record = self.context.clock.now(), self.entry.job.ops[self.op]
        last = self.op + 1 == len(self.entry.job.ops) or status is not JobStatus.SUCCESS
        job = self.job(
            status if last else JobStatus.WAITING,
            status=status,
            start=record.start or now,
            execution=record.execution or now,
            end=now,
            result=limits.result(result),
            error=error and limits.error(error),
        )
        if not last:
            return job
        return msgspec.structs.replace(
            job, ended=now, ops=tuple(_stopped(one, status, now) for one in job.ops)
        )

    def keys(self) -> list[str]:
        """Every key of the operation's journal."""
        uid, op, keys = self.entry.job.uid, self.op, list[str]()
        for each in self.steps.intents:
            keys += [codec.intent_key(uid, op, each.number), codec.result_key(uid, op, each.number)]
        if self.turn is not None:
            keys.append(codec.journal_key(uid, op, "turn"))
        if self.planned:
            keys.append(codec.journal_key(uid, op, "plan"))
        return keys

    async def close(self, job: Job, ops: tuple[Operation, ...] = (), **entities: Any) -> None:
        """Write the operation's end, and drop its journal; holds ``entry.lock``."""
        try:
            await self._close(job, ops, entities)
        except LimitExceeded:
            # Whatever else does not fit: a job must be able to end.
            logger.exception("job %s, operation %s", self.entry.id, self.op)
            self.entry.log = None
            for each in ops:
                with contextlib.suppress(LimitExceeded):
                    await self.context.journal.write([each])
            await self._close(limits.bare(job), (), entities)

    async def _close(self, job: Job, ops: tuple[Operation, ...], entities: dict[str, Any]) -> None:
        entry, keys = self.entry, self.keys()
        room = ROOM - len(ops) - sum(len(each) for each in entities.values())
        # The plan is deleted with the job's end, so that a crash in between is seen.
        surplus = max(0, len(keys) - room)
        writes = [*ops, *(Delete(key) for key in keys[surplus:])]
        if job.status.ended:
            writes += entry.last_words()
        if surplus and self.turn is not None:
            await self.context.journal.delete(keys[:surplus])
        await self.context.journal.job(entry, job, writes, **entities)
        if job.status.ended:
            # From now on it is read from the store.
            entry.log = None
            if entry.touched:
                issue.forget(self.context, entry)
        if surplus and self.turn is None:
            self.context.background.start(self.context.journal.delete(keys[:surplus]))

    def _steps(self, recorded: Any, *, lost: bool = False) -> JournaledSteps:
        # Held weakly: in a circle the attempt, with the whole cluster as it was before and the
        # secrets, would live on until Python looks for garbage, which is rare here.
        entry, gate = self.entry, weakref.WeakMethod(self._gate)
        secrets = entry.secrets[self.op] if self.op < len(entry.secrets) else {}
        return JournaledSteps(
            self.context,
            entry,
            self.op,
            now=self.now,
            gate=gate,
            recorded=recorded,
            secrets=secrets,
            secrets_lost=lost and not secrets,
        )

    async def _gate(self, ops: tuple[Operation, ...]) -> None:
        """The first commit of the operation, which allows effects; then the pre scripts."""
        if not self.planned:
            key = codec.journal_key(self.entry.job.uid, self.op, "plan")
            plan = Put(key, self._plan_record())
            async with self.entry.lock:
                self.entry.check_cancelled()
                self.entry.began = True
                await self.context.journal.job(self.entry, self.begun(), [plan, *ops])
                self.planned = True
        elif ops:
            await self.context.journal.write(ops)
        await self.phases.run_before()
        self.entry.check_cancelled()

    def _plan_record(self) -> bytes:
        return codec.encode(
            PlanRecord(
                plan=msgspec.Raw(msgspec.json.encode(self.plan)),
                needs=self.needs,
                now=self.now,
                run_id=self.run_id,
                master=self.context.node,
                hooked=self.operation.hooked,
                secret=self.op in self.entry.secret,
            )
        )

    async def _final(self, outcome: Outcome) -> None:
        """Objects, result and what is still to do become durable together."""
        entry = self.entry
        uid = entry.job.uid
        self._owe(outcome)
        ops: list[Operation] = [
            Put(key, codec.encode(record)) for key, record in self.debris.items()
        ]
        entities: dict[str, Any] = {
            "put": outcome.put,
            "delete": outcome.delete,
            "mirrors": outcome.mirrors,
        }
        async with entry.lock:
            entry.check_cancelled()
            was = self._was(outcome)
            failed = outcome.error is not None
            if failed and not self.phases.asked:
                await self.close(self.ended(JobStatus.ERROR, error=outcome.error), **entities)
                entry.settled = True
                return
            if not (self.debris or self.phases.hooked or was or outcome.jobs):
                ended = self.ended(JobStatus.SUCCESS, result=outcome.result)
                await self.close(ended, **entities)
                entry.settled = True
                return
            result = limits.result(outcome.result)
            turn = TurnRecord(
                direction=Direction.FINISHING,
                result=result,
                was=was,
                jobs=outcome.jobs,
                error=outcome.error and limits.error(outcome.error),
                failure=FailureKind.FAILED if failed else None,
            )
            ops.append(Put(codec.journal_key(uid, self.op, "turn"), codec.encode(turn)))
            if self.planned:
                await self.context.journal.write(ops, entry=entry, **entities)
            else:
                await self._plan_and(ops, entities)
            # What the plan claimed is in the configuration now, and must not count twice.
            self.context.reservations.drop(entry.id)
            self.turn = turn
            entry.settled = True

    def _owe(self, outcome: Outcome) -> None:
        """What the final commit makes due."""
        for number, owed in enumerate(outcome.cleanup):
            key = codec.debris_key(self.entry.job.uid, self.op, number)
            self.debris[key] = codec.DebrisRecord(
                job=self.entry.id,
                to=self.context.address(owed.node),
                order=owed.order,  # type: ignore[arg-type]  # AnyOrder
                why="cleaning up",
            )

    def _was(self, outcome: Outcome) -> dict[str, msgspec.Raw]:
        """What the outcome replaces, so that scripts can be told after a crash too."""
        snapshot = self.context.state.snapshot()
        was: dict[str, msgspec.Raw] = {}
        for entity in (*outcome.put, *outcome.delete):
            key = entity_key(entity)
            old = _by_key(snapshot, key)
            was[key] = msgspec.Raw(b"null" if old is None else encode_entity(old))
        return was

    def _snapshot_before(self) -> Snapshot:
        """The cluster as it was before the final commit, if that has happened."""
        snapshot = self.context.state.snapshot()
        if self.turn is None:
            return snapshot
        put, delete = list[AnyEntity](), list[AnyEntity]()
        for key, old in self.turn.was.items():
            if bytes(old) != b"null":
                put.append(decode_entity(key, bytes(old)))
            elif (new := _by_key(snapshot, key)) is not None:
                delete.append(new)
        return snapshot.with_changes(snapshot.revision, put, delete)

    async def _plan_and(self, ops: list[Operation], entities: dict[str, Any]) -> None:
        """The final commit of an operation without effects is also its first."""
        record = self._plan_record()
        ops.append(Put(codec.journal_key(self.entry.job.uid, self.op, "plan"), record))
        await self.context.journal.job(self.entry, self.begun(), ops, **entities)
        self.planned = True


def _examines(operation: AnyOperation) -> bool:
    return type(operation).examine is not BaseOperation.examine


def _by_key(snapshot: Snapshot, key: str) -> AnyEntity | None:
    """The object that the store has under ``key``."""
    if key == CLUSTER_KEY:
        return snapshot.cluster
    kind, _, uuid = key.partition("/")
    table: Mapping[str, AnyEntity] = getattr(snapshot, kind)
    return table.get(uuid)


def _stopped(record: OpRecord, status: JobStatus, now: float) -> OpRecord:
    """An operation that was still to come when its job ended."""
    if record.status.ended:
        return record
    error = OperationFailed("an operation of the job before this one did not succeed").info()
    return msgspec.structs.replace(record, status=status, error=error, end=now)
