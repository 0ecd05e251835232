"""The files of an export's directory: which points it has, and what belongs to each.

How they are called is in ``gantry.model.export_facts``. Whatever is read here may have been made
by somebody else: only plain files are, and not more of them than a description may have.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from gantry.model import export_config, export_facts
from gantry.model.backup_orders import PointFacts
from gantry.model.errors import Rejected
from gantry.model.export_config import ExportConfig
from gantry.model.export_facts import CONFIG, FACTS, DumpFacts, Facts

MIB: Final = 1024 * 1024
_MOST: Final = 1 << 20
"""Bytes of a description."""


class Point(msgspec.Struct, frozen=True):
    """One point of an export, as its files say."""

    number: int
    config: Path
    facts: Path

    def read_config(self) -> ExportConfig:
        """Rejected, OSError."""
        return export_config.parse(text(self.config))

    def read_facts(self) -> Facts | None:
        """None where it is one of Ganeti's; Rejected, OSError."""
        return export_facts.decode(text(self.facts)) if is_plain(self.facts) else None


def points(export: Path) -> tuple[Point, ...]:
    """All, in order; the first one counts as there whatever its files say."""
    first = 1
    with contextlib.suppress(Rejected, OSError):
        facts = Point(1, export / CONFIG, export / FACTS).read_facts()
        first = facts.point if facts is not None else 1
    files = [file.name for file in export.iterdir() if is_plain(file)]
    numbers = (first, *export_facts.later_points(files, first)[: export_facts.MOST_POINTS])
    return tuple(_point(export, number, first) for number in numbers)


def last(export: Path) -> Point:
    """The last one."""
    return points(export)[-1]


def listed(point: Point) -> PointFacts:
    """What lists show of it."""
    files = [point.config, point.facts]
    incremental, time, problem = False, 0.0, ""
    try:
        config, facts = point.read_config(), point.read_facts()
        time = config.timestamp
        names = [disk.dump for disk in config.disks]
        if facts is not None:
            incremental, names = facts.incremental, [dump.name for dump in facts.dumps]
        files += [point.config.parent / name for name in names if "/" not in name]
    except (Rejected, OSError) as error:
        problem = str(error)
    used = sum(file.stat().st_blocks * 512 for file in files if is_plain(file))
    return PointFacts(
        number=point.number,
        time=time,
        incremental=incremental,
        size=-(-used // MIB),
        problem=problem,
    )


def dumps(chain: Iterable[Point]) -> tuple[DumpFacts, ...]:
    """What is said of the dumps of all points; nothing of one that cannot be read."""
    found: list[DumpFacts] = []
    for point in chain:
        with contextlib.suppress(Rejected, OSError):
            facts = point.read_facts()
            found += facts.dumps if facts is not None else ()
    return tuple(found)


def link(source: Path, target: Path) -> None:
    """All files of an export in another directory, too; none of them may be written to."""
    for file in source.iterdir():
        if is_plain(file):
            os.link(file, target / file.name, follow_symlinks=False)


def is_plain(path: Path) -> bool:
    """No link, no pipe, and not what a name with control characters hides."""
    return path.is_file() and not path.is_symlink() and path.name.isprintable()


def text(path: Path) -> str:
    """Of a plain file: a pipe in its place would be waited for, a link may lead anywhere."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(f"{path} is no plain file")
        return stream.read(_MOST).decode("utf-8", "replace")


def synced(path: Path) -> None:
    """What was written to the file by another program is on the disk when this returns."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _point(export: Path, number: int, first: int) -> Point:
    config, facts = export_facts.names(number, first)
    return Point(number, export / config, export / facts)
