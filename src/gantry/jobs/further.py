"""Jobs that an operation has submitted: one for each instance of a node, say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from gantry.jobs.attempt import Attempt
from gantry.model.errors import GantryError
from gantry.model.jobs import Submission


async def submit(
    attempt: Attempt, jobs: Sequence[tuple[dict[str, Any], ...]]
) -> list[tuple[bool, Any]]:
    """Submit them, under numbers by which they are known again after a crash.

    Those of a dry run are dry runs. Gives ``(True, number)`` for each, or ``(False, why)``.
    """
    job = attempt.entry.job
    submissions = [
        Submission(
            ops=ops,
            request_id=f"{job.uid}/{attempt.op}/{number}",
            priority=job.priority,
            dry_run=job.dry_run,
            reason=(*job.reason, ("gnt:job", f"job {job.id}", int(attempt.now * 1e9))),
            requester=job.requester,
        )
        for number, ops in enumerate(jobs)
    ]
    answers = await asyncio.gather(
        *(attempt.context.submit(one) for one in submissions), return_exceptions=True
    )
    told: list[tuple[bool, Any]] = []
    for answer in answers:
        if isinstance(answer, GantryError):
            told.append((False, str(answer)))
        elif isinstance(answer, BaseException):
            raise answer
        else:
            told.append((True, answer))
    return told
