"""Jobs as data: what clients see, and what the store keeps of them."""

from __future__ import annotations

import enum
from typing import Any, Final

import msgspec

from gantry.model.errors import ErrorInfo
from gantry.model.names import JobId


class JobStatus(enum.StrEnum):
    """Ganeti's words."""

    QUEUED = "queued"
    WAITING = "waiting"
    """For locks or other jobs."""
    RUNNING = "running"
    CANCELING = "canceling"
    CANCELED = "canceled"
    SUCCESS = "success"
    ERROR = "error"

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self in (JobStatus.CANCELED, JobStatus.SUCCESS, JobStatus.ERROR)


class Priority(enum.IntEnum):
    """What users may choose; a lower number runs first."""

    HIGH = -10
    NORMAL = 0
    LOW = 10


class LogKind(enum.StrEnum):
    """What a line of a job's log is."""

    MESSAGE = "message"
    WARNING = "warning"
    PROGRESS = "progress"
    SCRIPT = "script"


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a job's log; ``serial`` counts from 1 within the job."""

    serial: int
    time: float
    kind: LogKind
    text: str
    op: int = 0


class Dependency(msgspec.Struct, frozen=True, kw_only=True):
    """Another job that must have ended first, in one of ``statuses`` (any end where empty)."""

    job: JobId
    statuses: tuple[JobStatus, ...] = ()


class DryRun(enum.StrEnum):
    """``--dry-run`` runs no script; ``--dry-run=hooks`` runs the pre scripts, who are told."""

    NO = "no"
    YES = "yes"
    HOOKS = "hooks"


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """What a client sends. ``ops`` are operations as JSON objects with an ``OP_ID``.

    ``request_id`` is the client's own random id: a repeat with the same one is the same job.
    ``within_job`` is the job whose hook or OS script the command runs in, if any.
    ``secrets`` (secret OS parameters by name, one dictionary an op) are kept in memory only.
    """

    ops: tuple[dict[str, Any], ...]
    request_id: str
    priority: int = Priority.NORMAL
    depends: tuple[Dependency, ...] = ()
    reason: tuple[tuple[str, str, int], ...] = ()
    dry_run: DryRun = DryRun.NO
    within_job: JobId | None = None
    requester: str = ""
    secrets: tuple[dict[str, str], ...] = ()


class OpRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of a job. ``result`` is JSON; ``error`` says why it failed."""

    input: dict[str, Any]
    status: JobStatus = JobStatus.QUEUED
    result: Any = None
    error: ErrorInfo | None = None
    start: float | None = None
    execution: float | None = None
    """When the locks were there."""
    end: float | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as clients see it. ``uid`` is random and names it to the agents for ever."""

    id: JobId
    uid: str
    ops: tuple[OpRecord, ...]
    status: JobStatus = JobStatus.QUEUED
    summary: tuple[str, ...] = ()
    priority: int = Priority.NORMAL
    depends: tuple[Dependency, ...] = ()
    reason: tuple[tuple[str, str, int], ...] = ()
    dry_run: DryRun = DryRun.NO
    requester: str = ""
    request_id: str = ""
    received: float = 0.0
    started: float | None = None
    ended: float | None = None
    attempt: int = 1
    archived: bool = False
    waiting_for: tuple[str, ...] = ()
    """Locks or jobs, in words."""


class JobChange(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a job's live log: new lines, and the job where its status changed."""

    entries: tuple[LogEntry, ...] = ()
    job: Job | None = None


MAX_LOG_LINES: Final = 2000
"""The tail of a job's log that is kept."""
