"""``gantry.json`` of an export, and how the points of a chain are called. Pure.

The first point has Ganeti's names and is a full export; point *n* has ``<n>.config.ini``,
``<n>.gantry.json`` and, for each disk, a file that rests on one of an earlier point, or a full
one. See docs/adr/0016-incremental-exports.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from gantry.model.errors import Reason, Rejected

VERSION: Final = 1
CONFIG: Final = "config.ini"
FACTS: Final = "gantry.json"
MOST_POINTS: Final = 1000
"""Of one chain."""
_NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}")
_LATER: Final = re.compile(r"([1-9][0-9]{0,8})\.config\.ini")


class DumpFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A dump: ``scripted`` through the OS definition's scripts, else the disk's raw content.

    ``below`` is the dump that it rests on: then it is a qcow2 file with what has changed since.
    """

    name: str
    scripted: bool
    format: str = "raw"
    mode: str = "rw"
    sha256: str = ""
    below: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What Ganeti's file has no words for: which parameters are the instance's own, and dumps.

    ``mark`` is what QEMU calls the moment of this point, where another one can build on it;
    ``stamps`` are those of disks whose guest did not run then. ``instance`` is the uuid of the
    instance, as its name may be another one's later. ``highest`` is the highest number that a
    point of the chain has had, where points after this one were removed.
    """

    version: int = VERSION
    point: int = 1
    instance: str = ""
    highest: int = 0
    mark: str = ""
    stamps: dict[str, str] = {}
    dumps: tuple[DumpFacts, ...] = ()
    own_hvparams: tuple[str, ...] = ()
    own_beparams: tuple[str, ...] = ()
    own_osparams: tuple[str, ...] = ()
    osparams: dict[str, str] = {}
    osparams_private: dict[str, str] = {}
    """OS parameters of several lines, of which Ganeti's file loses the blanks and some lines."""
    hvparams: dict[str, str] = {}
    """The instance's own of those that only clusters have there: Ganeti would refuse the file."""

    @property
    def incremental(self) -> bool:
        """Whether it is of no use without an earlier point."""
        return any(dump.below for dump in self.dumps)


def decode(text: str) -> Facts:
    """The facts, or Rejected. Dumps are of the same directory."""
    try:
        found = msgspec.json.decode(text, type=Facts)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _damaged(str(error)) from None
    for dump in found.dumps:
        for name in (dump.name, dump.below or dump.name):
            if not _NAME.fullmatch(name):
                raise _damaged(f"{name!r} is no name of a dump")
    return found


def _damaged(why: str) -> Rejected:
    return Rejected(
        f"gantry.json of the export cannot be understood: {why}",
        "move it away, and the export is taken for one of Ganeti's",
        reason=Reason.STATE,
    )


def encode(facts: Facts) -> str:
    """Their text."""
    return msgspec.json.encode(facts).decode()


def with_digests(text: str, sha256: Mapping[str, str]) -> str:
    """``Facts`` as text, with what the dumps hash to."""
    found = msgspec.json.decode(text, type=Facts)
    dumps = tuple(
        msgspec.structs.replace(one, sha256=sha256.get(one.name, one.sha256)) for one in found.dumps
    )
    return encode(msgspec.structs.replace(found, dumps=dumps))


def names(point: int, first: int) -> tuple[str, str]:
    """The names of the two descriptions of a point of a chain that begins with ``first``."""
    return (CONFIG, FACTS) if point == first else (f"{point}.{CONFIG}", f"{point}.{FACTS}")


def later_points(files: Iterable[str], first: int) -> tuple[int, ...]:
    """The points after the first, of which there are files; in order."""
    found = {int(match[1]) for name in files if (match := _LATER.fullmatch(name))}
    return tuple(sorted(one for one in found if one > first))


def dump_name(disk: str, point: int) -> str:
    """The name of a disk's dump."""
    return disk if point == 1 else f"{disk}.{point}"


def layers(name: str, dumps: Iterable[DumpFacts]) -> tuple[str, ...]:
    """The dumps that ``name`` rests on, next first, out of those of all points; Rejected."""
    by_name = {one.name: one for one in dumps}
    found: list[str] = []
    below = by_name[name].below if name in by_name else ""
    while below:
        if below not in by_name or below in found or below == name or len(found) > MOST_POINTS:
            raise Rejected(
                f"the chain of this export is damaged: {name} rests on {below}",
                "use an earlier point, or another export",
                reason=Reason.STATE,
            )
        found.append(below)
        below = by_name[below].below
    return tuple(found)
