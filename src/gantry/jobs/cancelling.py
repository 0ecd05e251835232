"""Cancelling a job: before it has begun it just ends; one that runs is undone."""

from __future__ import annotations

import asyncio

import msgspec

from gantry.jobs import admission, issue
from gantry.jobs.context import Context
from gantry.jobs.entry import Entry
from gantry.model.jobs import JobStatus


async def cancel(context: Context, entry: Entry, *, kill: bool) -> str:
    """What became of it, for the operator; Rejected where nothing can be cancelled any more."""
    async with entry.lock:
        if entry.job.status.ended:
            raise admission.state(entry, "has ended already", "nothing is left to cancel")
        # First: an operation without effects is done with the commit with which it begins.
        if entry.settled:
            raise admission.state(
                entry, "has done its work already", "only its last scripts still run"
            )
        if not entry.began:
            await _cancel_waiting(context, entry)
            return f"job {entry.id} is cancelled: it had not begun"
        if entry.undoing:
            raise admission.state(entry, "is being undone already", "gnt-job watch shows it")
        if not kill:
            raise admission.state(
                entry, "is running", f"gnt-job cancel --kill {entry.id} undoes what it has done"
            )
        entry.cancel_wanted = True
        changed = msgspec.structs.replace(entry.job, status=JobStatus.CANCELING)
        await context.journal.job(entry, changed)
    orders = dict(entry.orders)
    await asyncio.gather(*(issue.cancel(context, entry, to, key) for key, to in orders.items()))
    if entry.log is None:
        # Meanwhile the job has ended, and its agents had forgotten it.
        issue.forget(context, entry)
    return f"job {entry.id} is being cancelled: what it has done is undone"


async def _cancel_waiting(context: Context, entry: Entry) -> None:
    """Holds ``entry.lock``: the job's first commit has not happened and now will not."""
    entry.cancel_wanted = True
    ended = admission.cancelled(entry.job, context.clock.now())
    await context.journal.job(entry, ended, entry.last_words())
    # What earlier operations of the job have said is read from the store from now on, and what
    # they have done need not be remembered.
    entry.log = None
    issue.forget(context, entry)
    if entry.task is not None:
        entry.task.cancel()
