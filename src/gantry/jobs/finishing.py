"""What follows the final commit: owed orders, files, post scripts, the job's end.

Nothing here can make the operation fail any more. A new master does all of it again.
"""

from __future__ import annotations

import asyncio

from gantry.jobs import issue, phases
from gantry.jobs.attempt import Attempt
from gantry.jobs.debris import Debris
from gantry.jobs.distributor import Distributor
from gantry.model.jobs import JobStatus, LogKind
from gantry.ports.store import Delete


async def finish(attempt: Attempt, debris: Debris, distributor: Distributor) -> None:
    """From the final commit to the end of the operation."""
    if attempt.turn is None:
        return
    done = await _clean(attempt, debris)
    if attempt.turn.changed:
        work = distributor.distribute()
        if attempt.operation.opcode.startswith(("OP_CLUSTER_", "OP_NODE_")):
            await work
        else:
            attempt.context.background.start(work)
    scripts = await phases.run_after(attempt)
    result = attempt.operation.conclude(attempt.plan, attempt.turn.result, scripts)
    ops = tuple(Delete(key) for key in done)
    job = attempt.ended(JobStatus.SUCCESS, result=result)
    if job.status.ended:
        attempt.context.background.start(_close(attempt, ops, result))
        attempt.entry.show(job)
    else:
        await _close(attempt, ops, result)


async def _close(attempt: Attempt, ops: tuple[Delete, ...], result: object) -> None:
    async with attempt.entry.lock:
        await attempt.close(attempt.ended(JobStatus.SUCCESS, result=result), ops)


async def _clean(attempt: Attempt, debris: Debris) -> list[str]:
    """Carry out what the final commit made due; gives the keys of what is done."""
    records = attempt.debris
    problems = await asyncio.gather(
        *(debris.carry_out(key, record) for key, record in records.items())
    )
    done = []
    for (key, record), problem in zip(records.items(), problems, strict=True):
        if not problem:
            done.append(key)
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
