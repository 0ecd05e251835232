"""What is wrong with a directory of hooks, or between those of several nodes: pure judgement."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Final

from gantry.hooks import catalogue, disabled, watcher
from gantry.hooks.entry import Where
from gantry.model.file_rules import interpreter, rights
from gantry.model.findings import Finding, Level, error, warning
from gantry.model.hook_files import EntryKind, HookFile, HookInventory, HookPlace

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]+")
_FOREIGN: Final = re.compile(r"[^a-zA-Z0-9_-]+")
_EXECUTABLE: Final = 0o111
_SPECIAL: Final = (watcher.DIRECTORY,)
_SUFFIX: Final = re.compile(r"-(pre|post|fail)(\.d)?$|\.d$")


def check(found: HookInventory, main_version: int) -> tuple[Finding, ...]:
    """Everything that one node's directory gives reason to say."""
    return (
        *_policy(found),
        *_switches(found),
        *(one for place in found.places for one in _place(place, found, main_version)),
        *(one for file in found.files for one in _entry(file, found.user, main_version)),
    )


def drift(nodes: Mapping[str, HookInventory], main_version: int) -> tuple[Finding, ...]:
    """Scripts and policies that are not the same on all nodes where they would be read."""
    if len(nodes) < 2:
        return ()
    digests = {name: found.policy_digest for name, found in nodes.items()}
    return (
        *_differing("hooks.toml", digests),
        *(
            finding
            for path, files in _by_path(nodes, main_version).items()
            for finding in _differing(path, files)
        ),
    )


def _policy(found: HookInventory) -> Iterator[Finding]:
    for fault in found.policy:
        line = f"line {fault.line}: " if fault.line else ""
        yield Finding(
            level=Level.ERROR if fault.error else Level.WARNING,
            path="hooks.toml",
            message=line + fault.message,
            hint="until it is mended, pre phases are denied" if fault.error else "",
        )


def _switches(found: HookInventory) -> Iterator[Finding]:
    if found.switches_problem:
        yield error(disabled.FILE, found.switches_problem, "all scripts run; mend or remove it")
    there = {f"{one.directory}/{one.name}" for one in found.files}
    for script in sorted(set(found.disabled) - there):
        yield warning(script, "it is disabled, and not there", "gnt-hook enable forgets it")


def _place(place: HookPlace, found: HookInventory, main_version: int) -> Iterator[Finding]:
    name = place.name or "."
    if place.problem:
        hint = "mend its owner, its rights, or what it is a link to"
        yield error(name, f"it cannot be read: {place.problem}", hint)
    yield from rights(name, place.mode, place.owner, found.user)
    if place.name:
        yield from _name_of_directory(place.name, main_version)


def _name_of_directory(name: str, main_version: int) -> Iterator[Finding]:
    if name in _SPECIAL or name in directories(main_version):
        return
    other = 3 - main_version
    if name in directories(other):
        yield error(
            name,
            f"it is read in version {other} of the interface only, and the cluster uses "
            f"version {main_version}",
            "docs/hooks/operations.md says which directories each version has",
        )
        return
    near = get_close_matches(name, sorted(directories(main_version)), 1)
    hint = f"did you mean {near[0]}?" if near else "docs/hooks/operations.md has them all"
    # Anything else is what scripts have beside them: a library, settings.
    if _SUFFIX.search(name) or near:
        yield error(name, "no operation reads this directory", hint)


@cache
def directories(main_version: int) -> frozenset[str]:
    """The directories that some phase reads in a cluster of that version."""
    return frozenset(
        one.name for reading in catalogue.readings(main_version) for one in reading.directories
    )


def _entry(file: HookFile, user: int, main_version: int) -> Iterator[Finding]:
    """Of a library only its rights count: nothing in it is run by itself."""
    known = file.directory in _SPECIAL or file.directory in directories(main_version)
    if known or _SUFFIX.search(file.directory):
        yield from _file(file, user)
    elif file.kind is EntryKind.FILE:
        yield from rights(f"{file.directory}/{file.name}", file.mode, file.owner, user)


def _file(file: HookFile, user: int) -> Iterator[Finding]:
    path = f"{file.directory}/{file.name}"
    if file.kind is EntryKind.BROKEN:
        yield error(path, "it is a link to nothing, or cannot be reached", "remove it, or mend it")
        return
    if file.kind is not EntryKind.FILE:
        what = ", but a directory" if file.kind is EntryKind.DIRECTORY else ""
        yield warning(path, f"it is no file{what}", "only files run")
        return
    yield from rights(path, file.mode, file.owner, user)
    executable = bool(file.mode & _EXECUTABLE)
    looks_meant = executable or bool(file.interpreter.line) or file.interpreter.binary
    if not _NAME.fullmatch(file.name):
        if looks_meant:
            better = _FOREIGN.sub("-", file.name).strip("-") or "10-script"
            yield error(
                path,
                "it never runs: a name is made of letters, digits, _ and - alone",
                f"mv {shlex.quote(file.name)} {better}" if _can_be_typed(file.name) else "",
            )
    elif not executable:
        if looks_meant:
            yield warning(
                path,
                "it does not run: it is not executable",
                "chmod +x; to switch a script off use gnt-hook disable, which says why",
            )
    else:
        yield from _running(path, file)


def _running(path: str, file: HookFile) -> Iterator[Finding]:
    """Of a file that would run."""
    yield from interpreter(path, file.interpreter)
    if file.written_for and file.version and file.version not in file.written_for:
        looks = " and ".join(map(str, file.written_for))
        yield warning(
            path,
            f"it looks written for version {looks} of the interface, and runs in version "
            f"{file.version}",
            "gnt-cluster modify --hooks-version, or version = … for it in hooks.toml",
        )
    if file.skip:
        yield warning(path, f"it does not run: {file.skip}")


def _by_path(nodes: Mapping[str, HookInventory], main_version: int) -> dict[str, dict[str, str]]:
    """For each script that more than the master reads, its content's digest on each node."""
    single = {
        name
        for reading in catalogue.readings(main_version)
        for name, where in reading.where.items()
        if where is Where.MASTER
    }
    found: dict[str, dict[str, str]] = {}
    for node, inventory in nodes.items():
        for file in inventory.files:
            if _counts(file) and file.directory not in single:
                path = f"{file.directory}/{file.name}"
                found.setdefault(path, dict.fromkeys(nodes, ""))[node] = file.digest
    return dict(sorted(found.items()))


def _counts(file: HookFile) -> bool:
    runs = file.mode & _EXECUTABLE and _NAME.fullmatch(file.name)
    return file.kind is EntryKind.FILE and bool(runs) and bool(file.digest)


def _differing(path: str, digests: Mapping[str, str]) -> Iterator[Finding]:
    """``digests`` by node; empty where the node does not have it."""
    missing = sorted(node for node, digest in digests.items() if not digest)
    if len(missing) == len(digests):
        return
    if missing:
        yield warning(
            path,
            f"it is missing on {_named(missing)}",
            "gnt-hook push brings scripts to all nodes",
        )
    counted = Counter(digest for digest in digests.values() if digest)
    if len(counted) > 1:
        usual = counted.most_common(1)[0][0]
        others = sorted(node for node, digest in digests.items() if digest not in ("", usual))
        yield warning(
            path,
            f"on {_named(others)} it has another content than elsewhere",
            "gnt-hook push brings the same to all nodes",
        )


def _named(nodes: list[str]) -> str:
    shown = ", ".join(nodes[:5])
    return shown if len(nodes) <= 5 else f"{shown} and {len(nodes) - 5} more"


def _can_be_typed(name: str) -> bool:
    """Not one with bytes that are no text, which comes with escapes in their place."""
    return name.isprintable() and "\\" not in name
