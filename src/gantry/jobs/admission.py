"""Whether a submission becomes a job, and the job that it becomes; pure but for the clock."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gantry.jobs import codec, limits
from gantry.jobs.context import Context
from gantry.jobs.entry import Entry
from gantry.jobs.locks import LockTable
from gantry.model.errors import Cancelled, GantryError, Reason, Rejected
from gantry.model.jobs import Job, JobStatus, OpRecord, Submission
from gantry.model.locks import CANDIDATES, Level, Lock
from gantry.model.names import JobId, Uuid
from gantry.model.snapshot import Snapshot
from gantry.operations import registry
from gantry.operations.base import AnyOperation


def operations(submission: Submission, *, internal: bool) -> list[AnyOperation]:
    """The operations, each checked against its declaration; or Rejected.

    Those that the master does for itself are nothing that clients may ask for.
    """
    if not submission.ops:
        raise Rejected("a job needs at least one operation")
    check_priority(submission.priority)
    limits.check(submission)
    loaded = [registry.load(given) for given in submission.ops]
    for operation in loaded:
        if operation.internal and not internal:
            raise Rejected(
                f"{operation.opcode} is not for clients: only the master itself submits it",
                "gantry token and gantry join let a machine join",
            )
    return loaded


def check_priority(priority: int) -> None:
    """Ganeti's range, or Rejected."""
    if not -20 <= priority <= 19:
        raise Rejected(f"{priority} is no priority", "low, normal and high, or -20 to 19")


def check_depends(submission: Submission, entries: Mapping[JobId, Entry]) -> None:
    """Rejected where a job depends on one that does not exist, or that waits for it."""
    for dependency in submission.depends:
        if dependency.job not in entries:
            raise unknown(dependency.job)
        if dependency.job == submission.within_job:
            raise Rejected(
                f"this command runs in a hook of job {dependency.job} and cannot wait for its end",
                "do it after that job",
                reason=Reason.STATE,
            )


def check_within(
    submission: Submission,
    asked: list[AnyOperation],
    entries: Mapping[JobId, Entry],
    locks: LockTable,
    snapshot: Snapshot,
) -> None:
    """Rejected where a hook's command would wait for a lock of the very job that waits for it."""
    if submission.within_job is None or submission.within_job not in entries:
        return
    for operation in asked:
        for lock, job in locks.holders(operation.needs(snapshot)):
            if _waits_on(job, submission.within_job, entries, locks, set()):
                raise Rejected(
                    f"this command runs in a hook of job {submission.within_job}, which holds"
                    f" the lock of {lock_words(lock, snapshot)}"
                    + ("" if job == submission.within_job else f" through job {job}"),
                    "read instead of changing, or do it after that job",
                    reason=Reason.STATE,
                )


def entry(submission: Submission, asked: list[AnyOperation], job: JobId, context: Context) -> Entry:
    """The job, not durable yet."""
    clock = context.clock
    made = Entry(
        Job(
            id=job,
            uid=clock.random_bytes(12).hex(),
            ops=tuple(OpRecord(input=given) for given in submission.ops),
            summary=tuple(operation.summary() for operation in asked),
            priority=submission.priority,
            depends=submission.depends,
            reason=submission.reason,
            dry_run=submission.dry_run,
            requester=submission.requester,
            request_id=submission.request_id,
            received=clock.now(),
        ),
        submission.within_job,
    )
    made.secrets = submission.secrets
    made.secret = tuple(index for index, secrets in enumerate(submission.secrets) if secrets)
    limits.check_size(len(codec.encode(made.record(made.job))))
    return made


def cancelled(job: Job, now: float) -> Job:
    """The job when it was cancelled before its current operation began."""
    error = Cancelled(f"job {job.id} was cancelled before it began").info()
    ops = tuple(
        record
        if record.status.ended
        else msgspec.structs.replace(record, status=JobStatus.CANCELED, error=error, end=now)
        for record in job.ops
    )
    return msgspec.structs.replace(
        job, status=JobStatus.CANCELED, ops=ops, ended=now, waiting_for=()
    )


def waits_for(waiting: Entry, context: Context) -> tuple[str, ...]:
    """What a waiting job waits for, in words."""
    words = [f"job {job}" for job in waiting.waits_for]
    if waiting.request is not None and not waiting.request.granted:
        snapshot = context.state.snapshot()
        words += [
            f"{lock_words(lock, snapshot)} (job {job})"
            for lock, job in context.locks.blockers(waiting.request)
        ]
        words = words or ["a free place among the running jobs"]
    return tuple(dict.fromkeys(words))


def lock_words(lock: Lock, snapshot: Snapshot) -> str:
    """A lock as users know the object."""
    uuid = Uuid(lock.name)
    if lock == CANDIDATES:
        return "the list of master candidates"
    match lock.level:
        case Level.CLUSTER:
            return "the cluster" if lock.name == "cluster" else f"the cluster's {lock.name}"
        case Level.INSTANCE:
            found = snapshot.instances.get(uuid)
            return f"instance {found.name if found else lock.name}"
        case Level.NODE:
            node = snapshot.nodes.get(uuid)
            return f"node {node.name if node else lock.name}"
        case Level.NODEGROUP:
            group = snapshot.groups.get(uuid)
            return f"group {group.name if group else lock.name}"
    return f"{lock.level.name.lower()} {lock.name}"


def state(entry: Entry, what: str, hint: str) -> GantryError:
    """What was asked for does not fit what the job is doing."""
    return Rejected(f"job {entry.id} {what}", hint, reason=Reason.STATE, object_name=str(entry.id))


def unknown(job: JobId) -> GantryError:
    """No such job."""
    return Rejected(
        f"there is no job {job}",
        "gnt-job list shows those that exist",
        reason=Reason.UNKNOWN,
        object_name=str(job),
    )


def _waits_on(
    job: JobId,
    parent: JobId,
    entries: Mapping[JobId, Entry],
    locks: LockTable,
    seen: set[JobId],
) -> bool:
    """Whether ``job`` cannot end before ``parent`` does, through hooks that wait for jobs."""
    if job == parent:
        return True
    if job in seen:
        return False
    seen.add(job)
    for child in entries.values():
        if child.within_job == job and child.request is not None and not child.request.granted:
            for _, holder in locks.holders(child.request.needs):
                if _waits_on(holder, parent, entries, locks, seen):
                    return True
    return False
