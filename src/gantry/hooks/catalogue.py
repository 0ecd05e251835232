"""Which operations have hooks, and what each of their phases reads: the table, for looking up."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final

import msgspec

from gantry.hooks.about import names
from gantry.hooks.entry import Phase, Row, Where
from gantry.hooks.plan import directories_of
from gantry.hooks.table import CONFIG_UPDATE, ROWS
from gantry.hooks.watcher import DIRECTORY as WATCHER
from gantry.model.errors import Reason, Rejected
from gantry.model.hook_orders import ANY_OBJECT, HookAbout, HookDirectory

_OF_NO_OPERATION: Final = (
    "scripts in watcher/ are of no operation, and are told nothing: see docs/hooks/README.md"
)
_EVERY_CHANGE = "(every change of the configuration)"


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a phase of an operation reads, and on which nodes each directory is read.

    ``operation`` is its directories' prefix in the cluster's version.
    """

    operation: str
    opcode: str
    phase: Phase
    directories: tuple[HookDirectory, ...]
    where: dict[str, Where]


def find(name: str) -> Row:
    """The operation of that name: a prefix or a code of either version; or Rejected."""
    for entry in ROWS.values():
        if name in _names(entry):
            return entry
    known = [one for entry in ROWS.values() for one in _names(entry)]
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else "docs/hooks/operations.md has them all"
    raise Rejected(
        f"no operation with hooks is called {name!r}",
        _OF_NO_OPERATION if name == WATCHER else hint,
        reason=Reason.UNKNOWN,
        object_name=name,
    )


def known(name: str) -> str:
    """The prefix in version 2 of what ``find`` finds, the special directory included."""
    return CONFIG_UPDATE if name == CONFIG_UPDATE else find(name).directory(2)


def phase_of(name: str) -> Phase:
    """The phase of that name, or Rejected."""
    try:
        return Phase(name)
    except ValueError:
        known = ", ".join(phase.value for phase in Phase)
        raise Rejected(f"there is no phase {name}", f"there are {known}") from None


def readings(version: int, operation: str = "") -> tuple[Reading, ...]:
    """All phases of all operations, or of one (Rejected where there is none of that name).

    ``version`` is the cluster's.
    """
    if operation == CONFIG_UPDATE:
        return (_config_update(version),)
    entries = [find(operation)] if operation else list(ROWS.values())
    found = [reading for entry in entries for reading in _readings(entry, version)]
    return tuple(found) if operation else (*found, _config_update(version))


def version_of(directory: str, main_version: int) -> int:
    """The version that scripts of a directory run in, as long as no policy says otherwise."""
    for version in (1, 2):
        if version != main_version:
            for entry in ROWS.values():
                prefix = entry.directory(version)
                if prefix != entry.directory(main_version) and directory.startswith(f"{prefix}-"):
                    return version
    return main_version


def prefixes() -> frozenset[str]:
    """The prefixes of all directories that some operation reads, in either version."""
    named = {entry.directory(version) for entry in ROWS.values() for version in (1, 2)}
    return frozenset(named | {CONFIG_UPDATE})


def reaches(where: Where, *, master: bool) -> bool:
    """Whether a node may be among those, for some object."""
    return where is not Where.NOWHERE and (where is not Where.MASTER or master)


def of_any_object(reading: Reading) -> HookAbout:
    """What conditions look at where only the operation is known."""
    entry = ROWS.get(reading.opcode)
    if entry is None or reading.operation == CONFIG_UPDATE:
        return ANY_OBJECT
    return msgspec.structs.replace(ANY_OBJECT, operations=names(entry))


def _names(entry: Row) -> tuple[str, ...]:
    return (entry.directory(2), entry.directory(1), entry.opcode, entry.op_code, entry.op_id)


def _readings(entry: Row, version: int) -> Iterator[Reading]:
    for phase in Phase:
        found = directories_of(entry, phase, version)
        named = {f"{one.prefix}-{phase.value}.d": one for one in found}
        if named:
            yield Reading(
                operation=entry.directory(version),
                opcode=entry.opcode,
                phase=phase,
                directories=tuple(
                    HookDirectory(name=name, version=one.version) for name, one in named.items()
                ),
                where={name: one.where for name, one in named.items()},
            )


def _config_update(version: int) -> Reading:
    name = f"{CONFIG_UPDATE}-post.d"
    return Reading(
        operation=CONFIG_UPDATE,
        opcode=_EVERY_CHANGE,
        phase=Phase.POST,
        directories=(HookDirectory(name=name, version=version),),
        where={name: Where.MASTER},
    )
