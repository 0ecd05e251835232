"""Orders and questions about incremental exports: what changed in a running guest's disks, and
the points of a chain. See docs/adr/0016-incremental-exports.md.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

import msgspec

from gantry.model.asking import Nothing, Order, Question
from gantry.model.names import Uuid
from gantry.model.specs import DiskSpec


class Below(msgspec.Struct, frozen=True):
    """A dump that a file of changes rests on, and its format."""

    name: str
    format: str


class ChangesOpen(Order[Nothing], frozen=True, kw_only=True, tag="changes-open"):
    """Put what has changed in these disks since ``since``, as it is now, into files beside them.

    From now on changes are counted for ``mark``, too. ``below`` are the dumps that the
    files rest on, by place in ``disks``. Undo: ChangesClose with ``drop``.
    """

    guest: Uuid
    hypervisor: str
    disks: tuple[DiskSpec, ...]
    below: tuple[Below, ...]
    since: Uuid
    mark: Uuid


class ChangesClose(Order[Nothing], frozen=True, kw_only=True, tag="changes-close"):
    """The files go, and changes since ``drop`` are counted no longer."""

    guest: Uuid
    hypervisor: str
    disks: tuple[DiskSpec, ...]
    drop: Uuid | None = None


class MarksDrop(Order[Nothing], frozen=True, kw_only=True, tag="marks-drop"):
    """Changes since these are counted no longer; a guest that is gone counts nothing."""

    guest: Uuid
    hypervisor: str
    marks: tuple[str, ...]


class Marks(msgspec.Struct, frozen=True):
    """The moments since which changes are counted, each with the indexes of the disks."""

    disks: dict[str, tuple[int, ...]]


class ReadMarks(Question[Marks], frozen=True, kw_only=True, tag="marks"):
    """Since when changes of this guest are counted. None of a guest that is not up."""

    answer: ClassVar[type[msgspec.Struct]] = Marks
    guest: Uuid
    hypervisor: str


class Stamps(msgspec.Struct, frozen=True):
    """By a disk's uuid what is another text once it has been written to; empty: not known."""

    disks: dict[str, str]


class ReadStamps(Question[Stamps], frozen=True, kw_only=True, tag="stamps"):
    """Whether somebody writes to these disks, which no guest has open, is seen by their stamps."""

    answer: ClassVar[type[msgspec.Struct]] = Stamps
    disks: tuple[DiskSpec, ...]


class NoChanges(msgspec.Struct, frozen=True, kw_only=True):
    """The dump ``name`` of a disk of ``size`` MiB in which nothing has changed since ``below``."""

    name: str
    size: int
    below: Below


class ExportUnchanged(Order[Nothing], frozen=True, kw_only=True, tag="export-unchanged"):
    """Put these into the export of ``instance`` that is being made."""

    instance: str
    dumps: tuple[NoChanges, ...]


class ExportPrune(Order[Nothing], frozen=True, kw_only=True, tag="export-prune"):
    """Make the export anew without one point of several, beside the one that is there.

    A point that is not there is taken out already. Undo: ExportDiscard.
    """

    instance: str
    point: int


class ExportReplace(Order[Nothing], frozen=True, kw_only=True, tag="export-replace"):
    """The export without ``point``, if it is there, takes the place of the one with it.

    That one is set aside. Undo: ExportRestore; ExportSettle deletes it.
    """

    instance: str
    point: int


class ExportAside(Order[Nothing], frozen=True, kw_only=True, tag="export-aside"):
    """The export of ``instance`` is none any more, and can come back as long as nothing has
    taken its place. Undo: ExportRestore; ExportSettle deletes it.

    ``before``: seconds since 1970; one whose last point is later is not meant.
    """

    instance: str
    before: float


class ExportRestore(Order[Nothing], frozen=True, kw_only=True, tag="export-restore"):
    """What was set aside is back: all of the export, or ``point``, unless it is another one now."""

    instance: str
    point: int | None = None


IncrementOrder: TypeAlias = (
    ChangesOpen
    | ChangesClose
    | MarksDrop
    | ExportUnchanged
    | ExportPrune
    | ExportReplace
    | ExportAside
    | ExportRestore
)
IncrementQuestion: TypeAlias = ReadMarks | ReadStamps
