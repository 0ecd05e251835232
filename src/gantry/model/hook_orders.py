"""Orders and questions about hook scripts, and their answers."""

from __future__ import annotations

import enum
from typing import ClassVar, Final

import msgspec

from gantry.model.asking import AfterDeath, Order, Question


class HookDirectory(msgspec.Struct, frozen=True, kw_only=True):
    """One directory of scripts, and in which interface version its scripts run."""

    name: str
    """Such as ``instance-start-pre.d``."""
    version: int


class HookAbout(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a policy's conditions look at: names of the operation, and of what it is about.

    ``operations`` are all names of the operation: its op codes in both versions and the prefix
    of its directories. ``tags`` are those of the object, ``groups`` and ``instances`` names.
    Where not ``known``, it is about any object: what is empty then is not known.
    """

    operations: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    known: bool = True


ANY_OBJECT: Final = HookAbout(known=False)


class ScriptStatus(enum.StrEnum):
    """What became of one script."""

    SKIPPED = "skipped"
    FAILED = "failed"
    SUCCEEDED = "succeeded"


class Stream(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a script wrote to stdout or stderr.

    ``size`` is how many bytes it wrote. ``cut``: only the first and the last 512 KiB are kept.
    ``file`` is the name of the file that keeps them, within the directory of the run's outputs;
    empty where nothing was written, or where outputs are not kept.
    """

    size: int = 0
    cut: bool = False
    file: str = ""


class ScriptResult(msgspec.Struct, frozen=True, kw_only=True):
    """One script on one node.

    ``output`` is stdout, then stderr, decoded with replacement; ``exit_status`` is None where
    the script was ended by a signal (``signal``), did not start (``problem``) or was skipped.
    ``digest`` is the SHA-256 of the script's content, in hexadecimal. ``started`` is in seconds
    since 1970; ``duration``, ``user_time`` and ``system_time`` are in seconds, the two latter of
    the script and of the children that it waited for. ``timeout`` (seconds), ``version`` and
    ``run_as`` (a user's name, or empty) are what the node's policy and the order decided.
    ``message`` and ``warnings`` are the verdict that the script wrote (``GANTRY_VERDICT``).
    ``run`` names the record that the node keeps; empty in an answer where it keeps none, or where
    that is the record of an earlier attempt, whose script was not run again.
    """

    directory: str
    script: str
    status: ScriptStatus
    exit_status: int | None = None
    signal: int | None = None
    problem: str = ""
    output: str = ""
    started: float = 0.0
    duration: float = 0.0
    truncated: bool = False
    version: int = 0
    digest: str = ""
    user_time: float = 0.0
    system_time: float = 0.0
    stdout: Stream = Stream()
    stderr: Stream = Stream()
    timeout: float = 0.0
    timed_out: bool = False
    run_as: str = ""
    message: str = ""
    warnings: tuple[str, ...] = ()
    run: str = ""


class Kept(msgspec.Struct, frozen=True):
    """Where in a node's ledger the runs are: those after ``before``, up to ``last``.

    ``ledger`` tells one file from another: a node that lost its own begins again from 0.
    """

    ledger: str
    before: int
    last: int


class HooksRan(msgspec.Struct, frozen=True, kw_only=True):
    """What the scripts of one node did, in the order in which they ran.

    ``kept`` is None where none of them was recorded.
    """

    results: tuple[ScriptResult, ...] = ()
    kept: Kept | None = None

    @property
    def ran(self) -> bool:
        """Whether any script did."""
        return any(one.status is not ScriptStatus.SKIPPED for one in self.results)


class HooksRun(Order[HooksRan], frozen=True, kw_only=True, tag="hooks-run"):
    """Run a phase's scripts on a node; not an effect, but tracked under its key like one.

    ``environments`` maps an interface version (``"1"``, ``"2"``) to its environment, without the
    ``GANTRY_*`` set, which the agent adds. Both are there, for the node's policy may run a
    script in the other one. Scripts of all directories run in one sequence, ordered by script
    name, then by directory; a file reached twice runs once, in ``main_version``.

    ``context`` is the JSON object that scripts find in the file ``GANTRY_CONTEXT``, to which the
    agent adds what it knows. ``extra`` are more variables, with their whole names.
    """

    answer: ClassVar[type[msgspec.Struct]] = HooksRan
    after_death: ClassVar[AfterDeath] = AfterDeath.INTERRUPTED
    directories: tuple[HookDirectory, ...]
    environments: dict[str, dict[str, str]]
    main_version: int
    job: int
    run_id: str
    attempt: int
    dry_run: bool = False
    about: HookAbout = HookAbout()
    context: msgspec.Raw = msgspec.Raw(b"{}")
    extra: dict[str, str] = {}


class HookSequence(msgspec.Struct, frozen=True, kw_only=True):
    """What one phase of an operation reads on a node."""

    directories: tuple[HookDirectory, ...]
    main_version: int
    about: HookAbout = HookAbout()


class ListedScript(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a hooks directory; ``skip`` says why it would not run.

    ``version``, ``timeout`` (seconds), ``run_as`` and ``deny_unreachable`` are what the node's
    policy says. ``problem``: this is a policy or a directory that cannot be read; where it is a
    policy, no other script of the sequence would run, and a pre phase would be denied.
    """

    directory: str
    script: str
    version: int
    skip: str = ""
    timeout: float = 0.0
    run_as: str = ""
    deny_unreachable: bool = False
    problem: str = ""


class ListedHooks(msgspec.Struct, frozen=True, kw_only=True):
    """For each sequence that was asked for, its scripts in the order in which they would run."""

    sequences: tuple[tuple[ListedScript, ...], ...]


class ReadHooks(Question[ListedHooks], frozen=True, kw_only=True, tag="hooks"):
    """Which scripts would run, by the rules and the files that a run would follow now."""

    answer: ClassVar[type[msgspec.Struct]] = ListedHooks
    sequences: tuple[HookSequence, ...]
