"""Trying an OS definition on a scratch disk: what is wanted, and what each script did."""

from __future__ import annotations

import enum

import msgspec


class Step(enum.StrEnum):
    """The scripts in the order in which they are tried; ``reinstall`` is ``create`` once more."""

    VERIFY = "verify"
    CREATE = "create"
    EXPORT = "export"
    IMPORT = "import"
    RENAME = "rename"
    REINSTALL = "reinstall"


class Outcome(enum.StrEnum):
    """How a step went."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """Also where a script succeeded and left something behind that cannot be cleared away."""
    SKIPPED = "skipped"
    """What it depends on failed, or the definition's version has no such script."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """``steps`` empty: all. ``variant`` empty: the first. ``disk`` in MiB, ``timeout`` in s.

    Values of private and secret parameters are shown nowhere.
    """

    steps: tuple[Step, ...] = ()
    variant: str = ""
    parameters: dict[str, str] = {}
    private_parameters: dict[str, str] = {}
    secret_parameters: dict[str, str] = {}
    disk: int = 1024
    timeout: float = 3600.0
    keep: bool = False


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One step. ``how`` says in words how the script ended, or why it was skipped.

    ``output`` is at most 64 KiB of it, ``duration`` in seconds. ``left`` was left behind and
    cleared away, ``stuck`` could not be; ``changed`` are files of the definition itself that
    it changed. ``predicted`` and ``dump`` are bytes of an export, ``written`` bytes that the
    disk has on the file system after it.
    """

    step: Step
    outcome: Outcome
    how: str
    exit_status: int | None = None
    duration: float = 0.0
    output: str = ""
    environment: dict[str, str] = {}
    left: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    predicted: int | None = None
    dump: int | None = None
    written: int | None = None


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. ``kept`` is the directory that stays, with the disks and the dump, or empty."""

    os: str
    api_version: int
    attempts: tuple[Attempt, ...]
    kept: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether no step failed."""
        return all(one.outcome is not Outcome.FAILED for one in self.attempts)
