"""Taking back what an operation may have done, and ending its job; decides nothing else.

The turn is durable before the first undo, or a crash in between would run the operation
forward again with half of the world gone. Effects are undone last first, those in doubt too:
an undo tolerates that nothing had happened. What cannot be undone now is debris: durable, and
asked of the node again when it comes back.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import repeat
from typing import Any

import msgspec

from gantry.hooks.failure import FailureKind
from gantry.jobs import codec, doubts, issue, limits
from gantry.jobs.attempt import Attempt
from gantry.jobs.codec import DebrisRecord, Direction, EffectRecord, TurnRecord
from gantry.jobs.steps import Recorded, effect_key
from gantry.model import timeouts
from gantry.model.entities import AnyEntity
from gantry.model.errors import Cancelled, ErrorInfo, GantryError, HooksDenied, Rejected
from gantry.model.jobs import JobStatus, LogKind
from gantry.model.names import Uuid
from gantry.model.orders import Order
from gantry.ports.store import Put

logger = logging.getLogger(__name__)


async def unwind(attempt: Attempt, error: GantryError) -> None:
    """Undo, and end the job with ``error``."""
    attempt.entry.undoing = True
    if attempt.turn is None:
        await _turn(attempt, error)
    if attempt.turn is not None:
        for intent in reversed(attempt.steps.intents):
            await _take_back(attempt, intent)
        if attempt.turn.failure is not None:
            await _tell(attempt, attempt.turn.failure)
    await _end(attempt, error)


async def _turn(attempt: Attempt, error: GantryError) -> None:
    """Make the turn durable, where there is anything to undo, or scripts are to be told.

    Without it those might hear that an operation failed which the next master then does.
    """
    effects = [effect for each in attempt.steps.intents for effect in each.effects]
    undo = attempt.steps.issued and any(effect.undo for effect in effects)
    if not undo and not attempt.phases.asked:
        return
    turn = TurnRecord(
        direction=Direction.UNWINDING,
        error=limits.error(error.info()),
        canceled=isinstance(error, Cancelled),
        failure=_failure(attempt, error) if attempt.phases.asked else None,
    )
    key = codec.journal_key(attempt.entry.job.uid, attempt.op, "turn")
    await attempt.context.journal.write([Put(key, codec.encode(turn))])
    attempt.turn = turn
    if undo:
        said = f"undoing: {error.message}"
        issue.say(attempt.context, attempt.entry, said, LogKind.MESSAGE, attempt.op)


async def _tell(attempt: Attempt, failure: FailureKind) -> None:
    """Run the scripts for a failure; whatever comes of it, the job ends as it would have."""
    assert attempt.turn is not None
    try:
        await attempt.phases.run_failed(failure, attempt.turn.error)
    except Exception:
        logger.exception("after job %s, operation %s", attempt.entry.id, attempt.op)
        fault = "a fault in Gantry kept the scripts for a failure from being run; see its log"
        issue.say(attempt.context, attempt.entry, fault, LogKind.WARNING, attempt.op)


def _failure(attempt: Attempt, error: GantryError) -> FailureKind:
    if isinstance(error, HooksDenied):
        return FailureKind.DENIED
    if isinstance(error, Cancelled):
        return FailureKind.CANCELLED
    return FailureKind.UNWOUND if attempt.resumed else FailureKind.FAILED


async def _take_back(attempt: Attempt, intent: Recorded) -> None:
    """All effects of one intent, side by side."""
    if intent.results is None:
        # An order that is still running would only keep its undo waiting.
        await asyncio.gather(
            *(
                issue.cancel(
                    attempt.context,
                    attempt.entry,
                    effect.to,
                    effect_key(attempt.entry, attempt.op, effect.name),
                )
                for effect in intent.effects
            )
        )
    await asyncio.gather(*(_undo(attempt, effect) for effect in intent.effects))


async def _undo(attempt: Attempt, effect: EffectRecord) -> None:
    if effect.undo is None or effect.undo_to is None:
        return
    entry, number = attempt.entry, attempt.entry.job.attempt
    order: Order[Any] = effect.undo
    key = effect_key(entry, attempt.op, f"undo/{number}/{effect.name}")
    if doubts.behind(order, effect.undo_to.node, attempt.debris.values()):
        _owe(attempt, effect, "the guest that was sent from there is not ended yet")
        return
    elsewhere = _elsewhere(attempt, order, effect.undo_to.node)
    if elsewhere:
        _owe(attempt, effect, f"the guest may still run on node {elsewhere}")
        return
    try:
        await issue.issue(
            attempt.context,
            entry,
            effect.undo_to,
            key,
            order,
            timeout=timeouts.NORMAL,
            op=attempt.op,
            undo=True,
        )
    except GantryError as error:
        _owe(attempt, effect, limits.text(error.message, 1000))


def _elsewhere(attempt: Attempt, order: Order[Any], node: Uuid) -> str:
    """Where the guest may run that the undo would start; it was not undone before this one."""
    cluster = attempt.context.state.snapshot()
    return doubts.where(order, node, cluster, attempt.debris.values())


def _owe(attempt: Attempt, effect: EffectRecord, problem: str) -> None:
    """The undo is left for later."""
    assert effect.undo is not None
    assert effect.undo_to is not None
    entry = attempt.entry
    why = f"step {effect.name} on node {effect.undo_to.name} is not undone: {problem}"
    issue.say(attempt.context, entry, why, LogKind.WARNING, attempt.op)
    debris = codec.debris_key(entry.job.uid, attempt.op, len(attempt.debris))
    attempt.debris[debris] = DebrisRecord(
        job=entry.id, to=effect.undo_to, order=effect.undo, why=why
    )


async def _end(attempt: Attempt, error: GantryError) -> None:
    info = _with_debris(limits.error(error.info()), list(attempt.debris.values()))
    ops = tuple(Put(key, codec.encode(record)) for key, record in attempt.debris.items())
    status = JobStatus.CANCELED if isinstance(error, Cancelled) else JobStatus.ERROR
    async with attempt.entry.lock:
        attempt.entry.settled = True
        await attempt.close(attempt.ended(status, error=info), ops, put=_remains(attempt))


def _remains(attempt: Attempt) -> tuple[AnyEntity, ...]:
    """What the operation says of objects that could not be made as they were."""
    plan, operation = attempt.plan, attempt.operation
    if not attempt.steps.issued or not isinstance(plan, operation.plan_type):
        return ()
    begun = frozenset(
        effect.name
        for each in attempt.steps.intents
        for effect, result in zip(each.effects, each.results or repeat(None), strict=False)
        if result is None or result.error is None or result.error.code != Rejected.code
    )
    return operation.remains(plan, begun)


def _with_debris(info: ErrorInfo, debris: list[DebrisRecord]) -> ErrorInfo:
    if not debris:
        return info
    left = "; ".join(record.why for record in debris)
    nodes = ", ".join(sorted({record.to.name for record in debris}))
    hint = f"what is left on {nodes} is cleaned up when the node is back"
    return msgspec.structs.replace(
        info, message=f"{info.message} ({left})", hint=f"{info.hint}; {hint}" if info.hint else hint
    )
