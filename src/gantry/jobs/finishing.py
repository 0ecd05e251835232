"""What follows the final commit: owed orders, files, post scripts, the job's end.

Nothing here can make the operation fail any more. A new master does all of it again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from gantry.hooks.failure import FailureKind
from gantry.jobs import further, issue
from gantry.jobs.attempt import Attempt
from gantry.jobs.codec import TurnRecord
from gantry.jobs.debris import Debris
from gantry.jobs.distributor import Distributor
from gantry.model.jobs import Job, JobStatus, LogKind
from gantry.model.orders import NodeLeave
from gantry.model.replica_orders import MirrorRelease
from gantry.ports.store import Delete

logger = logging.getLogger(__name__)


async def finish(attempt: Attempt, debris: Debris, distributor: Distributor) -> None:
    """From the final commit to the end of the operation."""
    turn = attempt.turn
    if turn is None:
        return
    master = attempt.context.state.snapshot().master
    if master.uuid != attempt.context.node:
        # What follows is the new master's: it finds the job as after a crash.
        raise attempt.context.journal.handed_over(master.name)
    done: list[Delete] = []
    result = turn.result
    try:
        result = await _follow_up(attempt, debris, distributor, done)
    except Exception:
        # The work is done and stays so; only what should have followed is incomplete.
        logger.exception("after job %s, operation %s", attempt.entry.id, attempt.op)
        fault = "a fault in Gantry kept what follows the operation from being done; see its log"
        issue.say(attempt.context, attempt.entry, fault, LogKind.WARNING, attempt.op)
    if turn.error is None:
        job = attempt.ended(JobStatus.SUCCESS, result=result)
    else:
        job = attempt.ended(JobStatus.ERROR, error=turn.error)
    if job.status.ended:
        attempt.context.background.start(_close(attempt, job, done))
        attempt.entry.show(job)
    else:
        await _close(attempt, job, done)


async def _follow_up(
    attempt: Attempt, debris: Debris, distributor: Distributor, done: list[Delete]
) -> Any:
    assert attempt.turn is not None
    # A node that leaves runs its last scripts before it does.
    last = [key for key, owed in attempt.debris.items() if isinstance(owed.order, NodeLeave)]
    # A replica is served for as long as something is mirrored to it: QEMU would wait for it.
    first = [key for key, owed in attempt.debris.items() if isinstance(owed.order, MirrorRelease)]
    done += await _clean(attempt, debris, first)
    rest = [key for key in attempt.debris if key not in (*first, *last)]
    done += await _clean(attempt, debris, rest)
    if attempt.turn.changed:
        if attempt.operation.opcode.startswith(("OP_CLUSTER_", "OP_NODE_")):
            await distributor.distribute()
        else:
            distributor.soon()
    if attempt.turn.failure is not None:
        return await _tell_failure(attempt, attempt.turn.failure)
    scripts = await attempt.phases.run_after(changed=attempt.turn.changed)
    done += await _clean(attempt, debris, last)
    for text, kind in attempt.operation.report(attempt.plan, scripts):
        issue.say(attempt.context, attempt.entry, text, kind, attempt.op)
    result = attempt.operation.conclude(attempt.plan, attempt.turn.result, scripts)
    return await _further(attempt, attempt.turn) if attempt.turn.jobs else result


async def _further(attempt: Attempt, turn: TurnRecord) -> dict[str, list[list[Any]]]:
    before = (turn.result or {}).get("jobs", ())
    return {"jobs": [*before, *map(list, await further.submit(attempt, turn.jobs))]}


async def _tell_failure(attempt: Attempt, failure: FailureKind) -> None:
    """What it leaves is kept, and it did not succeed: there is no post phase."""
    assert attempt.turn is not None
    await attempt.phases.run_failed(failure, attempt.turn.error)
    if attempt.turn.changed:
        await attempt.phases.run_update()


async def _close(attempt: Attempt, job: Job, done: list[Delete]) -> None:
    async with attempt.entry.lock:
        await attempt.close(job, tuple(done))


async def _clean(attempt: Attempt, debris: Debris, keys: list[str]) -> list[Delete]:
    """Carry out what the final commit made due; gives what is done."""
    records = {key: attempt.debris[key] for key in keys}
    problems = await asyncio.gather(
        *(debris.carry_out(key, record) for key, record in records.items())
    )
    done = []
    for (key, record), problem in zip(records.items(), problems, strict=True):
        if not problem:
            done.append(Delete(key))
            continue
        debris.add(key, record)
        issue.say(
            attempt.context,
            attempt.entry,
            f"on node {record.to.name} something is left to clean up: {problem};"
            " it is done when the node is back",
            LogKind.WARNING,
            attempt.op,
        )
    return done
