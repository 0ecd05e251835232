"""Keys and values of the job engine in the store: versioned JSON; no logic of jobs here.

election                          who is master, with its epoch; with a lease where stores have it
master/epoch                      the highest epoch, which outlives the election key
serial/jobs                       the highest id of an archived job
jobs/<id, ten digits>             a job that is not archived
joblog/<id, ten digits>           the tail of an ended job's log
journal/<uid>/<op>/plan           what was decided for a running operation
journal/<uid>/<op>/turn           unwinding, or finishing
journal/<uid>/<op>/e/<n>          effects about to be issued side by side
journal/<uid>/<op>/r/<n>          what came of them
debris/<uid>/<op>/<n>             an order that is still owed to a node
"""

from __future__ import annotations

import enum
import hashlib
from typing import Any, Final, TypeVar

import msgspec

from gantry.hooks.failure import FailureKind
from gantry.model.errors import ErrorInfo, GantryError
from gantry.model.jobs import Job, LogEntry
from gantry.model.locks import Needs
from gantry.model.names import JobId, Uuid
from gantry.model.orders import AnyOrder, Order
from gantry.ports.agents import Address

ELECTION: Final = "election"
EPOCH: Final = "master/epoch"
SERIAL: Final = "serial/jobs"
JOBS: Final = "jobs/"
LOGS: Final = "joblog/"
JOURNAL: Final = "journal/"
DEBRIS: Final = "debris/"
VERSION: Final = 1


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """The value of the election key."""

    epoch: int
    node: Uuid
    since: float
    v: int = VERSION


class StoredEpoch(msgspec.Struct, frozen=True, kw_only=True):
    """The highest epoch that any master of this store had, and that master's node."""

    epoch: int
    node: Uuid
    v: int = VERSION


class StoredJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job's record. ``secret`` are the operations that were given secret parameters."""

    job: Job
    within_job: JobId | None = None
    secret: tuple[int, ...] = ()
    v: int = VERSION


class StoredLog(msgspec.Struct, frozen=True, kw_only=True):
    """The tail of a log."""

    entries: tuple[LogEntry, ...]
    v: int = VERSION


class PlanRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided for one operation, before anything was touched.

    ``master`` is the node of the master that did, whose pre scripts may have run.
    """

    plan: msgspec.Raw
    needs: Needs
    now: float
    run_id: str
    hooked: bool
    master: Uuid | None = None
    secret: bool = False
    log: tuple[LogEntry, ...] = ()
    v: int = VERSION


class Direction(enum.StrEnum):
    """Which way an operation goes once it does not go forward any more."""

    UNWINDING = "unwinding"
    FINISHING = "finishing"
    """The final commit stands; post scripts may not have run."""


class TurnRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Durable before the first undo, or part of the final commit."""

    direction: Direction
    error: ErrorInfo | None = None
    canceled: bool = False
    result: Any = None
    failure: FailureKind | None = None
    """The scripts of ``-fail.d`` are due, and this is what they are told."""
    was: dict[str, msgspec.Raw] = {}
    """The objects that were changed, by key, as the store had them; null where they are new."""
    jobs: tuple[tuple[dict[str, Any], ...], ...] = ()
    """Further jobs that are to be submitted."""
    v: int = VERSION

    @property
    def changed(self) -> bool:
        """Whether the configuration was changed."""
        return bool(self.was)


class EffectRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An effect that may have happened. ``undo`` is an order to ``undo_to``, as data."""

    name: str
    to: Address
    digest: str
    undo_to: Address | None = None
    undo: AnyOrder | None = None


class IntentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Effects to be issued side by side, and what the log said before them."""

    effects: tuple[EffectRecord, ...]
    log: tuple[LogEntry, ...] = ()
    v: int = VERSION


class Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An agent's answer as JSON, or its error."""

    answer: msgspec.Raw = msgspec.Raw(b"null")
    error: ErrorInfo | None = None


class ResultRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one intent, in its order."""

    results: tuple[Result, ...]
    v: int = VERSION


class DebrisRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An order owed to a node: cleaning that is due, or an undo that did not get through."""

    job: JobId
    to: Address
    order: AnyOrder
    why: str = ""
    v: int = VERSION


class Serial(msgspec.Struct, frozen=True, kw_only=True):
    """The highest id of an archived job."""

    highest: int
    v: int = VERSION


R = TypeVar("R", bound=msgspec.Struct)

_encoder = msgspec.json.Encoder()
_sorted = msgspec.json.Encoder(order="sorted")
_decoders: dict[type[msgspec.Struct], msgspec.json.Decoder[Any]] = {}


def encode(record: msgspec.Struct) -> bytes:
    """A record as JSON."""
    return _encoder.encode(record)


def decode(key: str, value: bytes, kind: type[R]) -> R:
    """The record under ``key``; GantryError where it cannot be read, naming the key."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        record: R = decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise GantryError(
            f"the stored object {key} cannot be read: {error}",
            "bring back an earlier copy with gantry state restore",
            object_name=key,
        ) from error
    version = getattr(record, "v", VERSION)
    if version != VERSION:
        raise GantryError(
            f"the stored object {key} has version {version}, this program reads {VERSION}",
            "a newer Gantry wrote it: run that version",
            object_name=key,
        )
    return record


def job_key(job: JobId) -> str:
    """The key of a job's record; keys sort as ids do."""
    return f"{JOBS}{job:010d}"


def log_key(job: JobId) -> str:
    """The key of the log of an ended job."""
    return f"{LOGS}{job:010d}"


def journal_key(uid: str, op: int, rest: str) -> str:
    """A key of an operation's journal; ``rest`` as in this module's docstring."""
    return f"{JOURNAL}{uid}/{op}/{rest}"


def intent_key(uid: str, op: int, number: int) -> str:
    """The key of the effects number ``number``."""
    return journal_key(uid, op, f"e/{number:05d}")


def result_key(uid: str, op: int, number: int) -> str:
    """The key of their results."""
    return journal_key(uid, op, f"r/{number:05d}")


def debris_key(uid: str, op: int, number: int) -> str:
    """The key of something left over."""
    return f"{DEBRIS}{uid}/{op}/{number:05d}"


def digest(name: str, node: Uuid, order: Order[Any], undo: bytes) -> str:
    """A hash over everything that an effect is; equal effects, equal digests."""
    parts = (name.encode(), node.encode(), _sorted.encode(order), undo)
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).hexdigest()


def encode_sorted(value: Any) -> bytes:
    """Any value as JSON with sorted keys."""
    return _sorted.encode(value)


def archived(job: Job) -> Job:
    """The job as the history keeps it."""
    return msgspec.structs.replace(job, archived=True, waiting_for=())
