"""What is below a directory of hooks: every directory of scripts, every script, the policy.

Only facts are gathered; what is wrong with them is judged in ``gantry.hooks.lint``.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from gantry.hooks.catalogue import version_of
from gantry.hooks.policy import FILE
from gantry.hooks.written_for import written_for
from gantry.host import hook_policy, hook_switches
from gantry.host.digests import digest
from gantry.host.interpreter import ELF, interpreter
from gantry.host.listing import planned
from gantry.model.hook_files import (
    EntryKind,
    HookFile,
    HookInventory,
    HookPlace,
    PolicyFault,
)
from gantry.model.hook_orders import ANY_OBJECT, HookDirectory, HookSequence

_READ: Final = 256 * 1024
"""Bytes of a script that are looked at."""


def read(base: Path, main_version: int) -> HookInventory:
    """Look at everything below ``base`` now; an empty inventory where it is not there."""
    places: list[HookPlace] = []
    files: list[HookFile] = []
    for place in _places(base):
        places.append(place)
        if place.name and not place.problem:
            files += _files(base, place.name, main_version)
    return HookInventory(
        user=os.geteuid(),
        places=tuple(places),
        files=tuple(files),
        policy=_policy(base, files),
        policy_digest=digest(str(base / FILE)),
        disabled=tuple(
            script for script, word in hook_switches.read(base).items() if not word.enabled
        ),
        switches_problem=hook_switches.problem(base),
    )


def _places(base: Path) -> Iterator[HookPlace]:
    try:
        names = sorted(os.listdir(base))  # noqa: PTH208 - names only
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        yield HookPlace(name="", problem=str(error.strerror))
        return
    yield _place(base, "")
    for name in names:
        path = base / name
        lost = name.endswith(".d") and path.is_symlink() and not path.exists()
        if not name.startswith(".") and (path.is_dir() or lost):
            yield _place(base, name)


def _place(base: Path, name: str) -> HookPlace:
    shown = name.encode("utf-8", "backslashreplace").decode()
    try:
        status = (base / name).stat()
        os.listdir(base / name)  # noqa: PTH208 - whether it can be
    except OSError as error:
        return HookPlace(name=shown, problem=str(error.strerror))
    return HookPlace(name=shown, mode=stat.S_IMODE(status.st_mode), owner=status.st_uid)


def _files(base: Path, directory: str, main_version: int) -> Iterator[HookFile]:
    sequence = HookSequence(
        directories=(HookDirectory(name=directory, version=version_of(directory, main_version)),),
        main_version=main_version,
        about=ANY_OBJECT,
    )
    decided = {one.name: one for one in planned(base, sequence)}
    for name in sorted(os.listdir(base / directory)):  # noqa: PTH208
        if name.startswith("."):
            continue
        shown = name.encode("utf-8", "backslashreplace").decode()
        found = _file(base / directory / name, directory, shown)
        one = decided.get(shown)
        if one is None:
            yield found
        else:
            # Why the file itself keeps it from running is judged by the file's own facts.
            why = one.skip if os.access(one.path, os.X_OK) else ""
            yield msgspec.structs.replace(found, version=one.version, skip=why)


def _file(path: Path, directory: str, name: str) -> HookFile:
    try:
        status = path.stat()
    except OSError:
        return HookFile(directory=directory, name=name, kind=EntryKind.BROKEN)
    facts = HookFile(
        directory=directory,
        name=name,
        mode=stat.S_IMODE(status.st_mode),
        owner=status.st_uid,
        size=status.st_size,
    )
    if not stat.S_ISREG(status.st_mode):
        kind = EntryKind.DIRECTORY if stat.S_ISDIR(status.st_mode) else EntryKind.OTHER
        return msgspec.structs.replace(facts, kind=kind)
    try:
        with path.open("rb") as stream:
            content = stream.read(_READ)
    except OSError:
        return facts
    text = "" if content.startswith(ELF) else content.decode("utf-8", "replace")
    return msgspec.structs.replace(
        facts,
        digest=digest(str(path)),
        interpreter=interpreter(content),
        written_for=written_for(text),
    )


def _policy(base: Path, files: Iterable[HookFile]) -> tuple[PolicyFault, ...]:
    scripts: dict[str, set[str]] = {}
    for one in files:
        scripts.setdefault(one.directory, set()).add(one.name)
    users = {one.pw_name for one in pwd.getpwall()}
    found = hook_policy.findings(base, scripts=scripts, users=users)
    return tuple(PolicyFault(message=one.message, line=one.line, error=one.error) for one in found)
