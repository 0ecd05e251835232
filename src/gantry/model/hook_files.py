"""What is on a node in its directory of hooks: facts, no judgement."""

from __future__ import annotations

import enum
from typing import ClassVar

import msgspec

from gantry.model.asking import Question


class EntryKind(enum.StrEnum):
    """What an entry of a directory of scripts is, a link being followed."""

    FILE = "file"
    DIRECTORY = "directory"
    BROKEN = "broken"
    """A link to nothing or in a circle, or what cannot be reached."""
    OTHER = "other"


class Interpreter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a file says what runs it. ``line`` is what follows ``#!``; empty where there is none.

    ``binary``: it is a program by itself. ``missing`` names the program that is not there.
    """

    line: str = ""
    binary: bool = False
    missing: str = ""


class HookFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An entry of a directory of scripts.

    ``digest`` is the SHA-256 of its content. ``version`` is the one that it would run in, ``skip``
    why it would not run. ``written_for`` are the interface versions that its text speaks of.
    """

    directory: str
    name: str
    kind: EntryKind = EntryKind.FILE
    mode: int = 0
    owner: int = 0
    size: int = 0
    digest: str = ""
    interpreter: Interpreter = Interpreter()
    written_for: tuple[int, ...] = ()
    version: int = 0
    skip: str = ""


class HookPlace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A directory of scripts, or the one that they are in (``name`` is then empty)."""

    name: str
    mode: int = 0
    owner: int = 0
    problem: str = ""
    """Why it cannot be read."""


class PolicyFault(msgspec.Struct, frozen=True, kw_only=True):
    """Something to say of the policy; ``error``: it keeps it from being followed."""

    message: str
    line: int = 0
    error: bool = True


class HookInventory(msgspec.Struct, frozen=True, kw_only=True):
    """Everything below one directory of hooks. ``user`` is who would run the scripts."""

    user: int
    places: tuple[HookPlace, ...] = ()
    files: tuple[HookFile, ...] = ()
    policy: tuple[PolicyFault, ...] = ()
    policy_digest: str = ""
    disabled: tuple[str, ...] = ()
    """Scripts that an operator has switched off, be they there or not."""
    switches_problem: str = ""
    """Why the file that says so cannot be followed."""


class ReadHookFiles(Question[HookInventory], frozen=True, kw_only=True, tag="hook-files"):
    """Look at the directory of hooks now; ``main_version`` is the cluster's."""

    answer: ClassVar[type[msgspec.Struct]] = HookInventory
    main_version: int
