"""What a site says of its scripts in ``hooks.toml``: how long, as whom, when, in which version.

    [default]                                   all scripts
    [directory."instance-add-pre.d"]            those of a directory
    [pattern."instance-*-pre.d/*-cmdb"]         those whose directory/name fits
    [script."instance-add-pre.d/20-has-owner"]  one

The closer one wins, key by key: script before pattern before directory before default; of
several patterns that fit, the last in the file. Reading the text is ``policy_file``'s.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

from gantry.model import timeouts
from gantry.model.hook_orders import HookAbout

FILE: Final = "hooks.toml"
"""In the directory of hooks, beside the directories of scripts."""
LIMIT: Final = 256 * 1024
"""Bytes; a longer file is refused."""
_SAID: Final = 3
"""Faults that an error's text names."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something to say of the file. ``line`` counts from 1; 0 where it is about the whole."""

    message: str
    line: int = 0
    error: bool = True

    def __str__(self) -> str:
        place = f"{FILE} line {self.line}" if self.line else FILE
        return f"{place}: {self.message}"


class PolicyError(Exception):
    """The file cannot be followed; ``findings`` says all that is wrong."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        said = "; ".join(str(one) for one in self.findings[:_SAID])
        more = len(self.findings) - _SAID
        super().__init__(f"{said}; and {more} more" if more > 0 else said)


class OnUnreachable(enum.StrEnum):
    """What a node means that does not answer when its pre scripts should run."""

    IGNORE = "ignore"
    DENY = "deny"


class Only(msgspec.Struct, frozen=True, kw_only=True):
    """When a script runs at all: each list that is given must have a glob that fits."""

    operations: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()

    def missed(self, about: HookAbout) -> str:
        """The name of a condition that does not hold, or ""; one that cannot be told holds."""
        for field in self.__struct_fields__:
            wanted: tuple[str, ...] = getattr(self, field)
            found: tuple[str, ...] = getattr(about, field)
            if not found and not about.known:
                continue
            if wanted and not any(fnmatchcase(name, glob) for name in found for glob in wanted):
                return field
        return ""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What one table says; None where it says nothing. ``timeout`` is in seconds."""

    timeout: float | None = None
    on_unreachable: OnUnreachable | None = None
    enabled: bool | None = None
    version: int | None = None
    run_as: str | None = None
    only: Only | None = None


class Kind(enum.StrEnum):
    """What a table is about, the farthest first."""

    DEFAULT = "default"
    DIRECTORY = "directory"
    PATTERN = "pattern"
    SCRIPT = "script"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A table of the file. ``line`` counts from 1; 0 where it is not known."""

    kind: Kind
    name: str
    settings: Settings
    line: int = 0

    def fits(self, directory: str, script: str) -> bool:
        """Whether it is about that script."""
        match self.kind:
            case Kind.DEFAULT:
                return True
            case Kind.DIRECTORY:
                return self.name == directory
            case Kind.PATTERN:
                return fnmatchcase(f"{directory}/{script}", self.name)
            case Kind.SCRIPT:
                return self.name == f"{directory}/{script}"

    def touches(self, directory: str) -> bool:
        """Whether it may be about scripts of that directory."""
        match self.kind:
            case Kind.DEFAULT:
                return True
            case Kind.DIRECTORY:
                return self.name == directory
            case _:
                # A glob's * also stands for a slash, so its first part alone is not enough.
                whole = self.name.partition("/")[0]
                return fnmatchcase(directory, whole) or fnmatchcase(f"{directory}/", self.name)


class Policy(msgspec.Struct, frozen=True):
    """All tables, the farthest first, and of one kind in the order of the file."""

    entries: tuple[Entry, ...] = ()


NONE: Final = Policy()
"""What holds where there is no file."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for one script; ``skip`` says why it does not run."""

    timeout: float = timeouts.HOOK_SCRIPT
    version: int
    run_as: str = ""
    on_unreachable: OnUnreachable = OnUnreachable.IGNORE
    skip: str = ""


def decide(policy: Policy, directory: str, script: str, version: int, about: HookAbout) -> Decision:
    """What holds for a script that the order would run in ``version``."""
    if not policy.entries:
        return Decision(version=version)
    settings = _merged(entry for entry in policy.entries if entry.fits(directory, script))
    skip = ""
    if settings.enabled is False:
        skip = f"it is switched off in {FILE}"
    elif settings.only is not None and (missed := settings.only.missed(about)):
        skip = f"{FILE} wants it for other {missed} only"
    return Decision(
        timeout=timeouts.HOOK_SCRIPT if settings.timeout is None else settings.timeout,
        version=settings.version or version,
        run_as=settings.run_as or "",
        on_unreachable=settings.on_unreachable or OnUnreachable.IGNORE,
        skip=skip,
    )


def denies_unreachable(policy: Policy, directory: str, about: HookAbout) -> bool:
    """Whether a node that does not answer denies, by what is said of scripts of ``directory``.

    What is said of scripts that are switched off, or not meant for ``about``, does not count.
    """
    base = [one for one in policy.entries if one.kind in (Kind.DEFAULT, Kind.DIRECTORY)]
    whole = [one for one in base if one.touches(directory)]
    if _denies(_merged(iter(whole)), about):
        return True
    closer = [one for one in policy.entries if one not in base and one.touches(directory)]
    return any(
        one.settings.on_unreachable is OnUnreachable.DENY
        and _denies(_merged(iter([*whole, one])), about)
        for one in closer
    )


def _denies(settings: Settings, about: HookAbout) -> bool:
    return (
        settings.on_unreachable is OnUnreachable.DENY
        and settings.enabled is not False
        and (settings.only is None or not settings.only.missed(about))
    )


def _merged(entries: Iterator[Entry]) -> Settings:
    """Key by key, the last one that says something."""
    found: dict[str, Any] = {}
    for entry in entries:
        for field in Settings.__struct_fields__:
            value = getattr(entry.settings, field)
            if value is not None:
                found[field] = value
    return Settings(**found)
