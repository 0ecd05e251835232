"""Records of what hook scripts did, and what a master asks of the agents that keep them."""

from __future__ import annotations

import enum
from typing import ClassVar

import msgspec

from gantry.model.asking import Question
from gantry.model.hook_orders import HooksRun, Kept, ScriptResult


class Origin(enum.StrEnum):
    """Why a script ran."""

    JOB = "job"
    NO_JOB = "no job"
    """An operation that is none of the queue's: the cluster's beginning, a new master."""
    TEST = "test"
    """``gnt-hook test`` or ``replay``: nothing happened but the script."""


class HookRun(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run of one script. ``result`` is without the output, which stays on the node.

    ``id`` is unique. ``operation`` is the prefix of its directories in version 2, ``opcode`` its
    code; ``kind`` and ``object`` are what it was about (such as INSTANCE and the
    instance's name); ``node`` is the name of the node where it ran. ``run_id`` is the same for all
    scripts of an operation and for its repeats, which ``attempt`` counts.
    """

    id: str
    origin: Origin = Origin.JOB
    operation: str
    opcode: str
    kind: str = ""
    object: str = ""
    job: int = 0
    run_id: str = ""
    attempt: int = 1
    dry_run: bool = False
    phase: str
    node: str
    result: ScriptResult


class KeptRuns(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a node's ledger, oldest first; ``more``: there are others after ``kept.last``."""

    runs: tuple[HookRun, ...]
    kept: Kept
    more: bool = False


class ReadHookRuns(Question[KeptRuns], frozen=True, kw_only=True, tag="hook-runs"):
    """The runs after serial ``after`` of the ledger of that name; of another one, from its start.

    Those that started before ``since`` (seconds since 1970) are left out.
    """

    answer: ClassVar[type[msgspec.Struct]] = KeptRuns
    ledger: str = ""
    after: int = 0
    since: float = 0.0
    limit: int = 1000


class HookRunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All that a node keeps of one run. ``order`` is what the phase was told, as it was given.

    ``stdout`` and ``stderr`` are decoded with replacement; None where they were thrown away
    to make room.
    """

    run: HookRun
    order: HooksRun
    stdout: str | None = ""
    stderr: str | None = ""


class ReadHookRun(Question[HookRunRecord], frozen=True, kw_only=True, tag="hook-run"):
    """One run with its output. Rejected where the node keeps none of that id."""

    answer: ClassVar[type[msgspec.Struct]] = HookRunRecord
    id: str


class HookRunChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs to show, newest first. None and "" choose nothing.

    ``instance`` and ``node`` are names, or the beginnings of names up to a dot; ``script`` is a
    script's name, or ``directory/name``; ``since`` is in seconds since 1970.
    """

    instance: str = ""
    node: str = ""
    operation: str = ""
    script: str = ""
    phase: str = ""
    job: int | None = None
    failed: bool = False
    since: float = 0.0
    limit: int = 100
