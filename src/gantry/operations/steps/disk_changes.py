"""Disks that are added to an instance, changed and taken away (``--disk`` of modify). Pure."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import msgspec

from gantry.model import names
from gantry.model.entities import Disk, DiskMode, DiskTemplate, Instance
from gantry.model.errors import Reason, Rejected
from gantry.operations.base import Given
from gantry.operations.steps import disks, requests


class DiskValues(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be given of a disk; ``size`` and ``format`` of a new one alone."""

    size: int | str | None = None
    mode: str | None = None
    name: str | None = None
    format: str | None = None
    on_degraded: str | None = None
    resync_rate: int | str | None = None


class DiskChange(msgspec.Struct, frozen=True, array_like=True):
    """Ganeti's triple: ``add``, ``modify`` or ``remove``; which; how."""

    action: str
    which: int | str = -1
    values: DiskValues = DiskValues()


class Edited(msgspec.Struct, frozen=True, kw_only=True):
    """The disks afterwards; ``made`` are the places of new ones, ``gone`` those taken away.

    ``gone`` are (place, disk) as they were before. ``last``: all was done at the end, so that
    every other disk keeps its place.
    """

    disks: tuple[Disk, ...]
    made: tuple[int, ...] = ()
    gone: tuple[tuple[int, Disk], ...] = ()
    last: bool = True


def apply(changes: tuple[DiskChange, ...], before: Instance, given: Given) -> Edited:
    """One change after the other, so numbers shift; Rejected where one cannot be."""
    what = f"change disks of instance {before.name}"
    if not changes:
        return Edited(disks=before.disks)
    disks.some(before, what)
    if before.disk_template is not DiskTemplate.MIRROR:
        disks.files(before, what)
    now = before
    for one in changes:
        now = msgspec.structs.replace(now, disks=_changed(one, now, given))
    if not now.disks or len(now.disks) > requests.MAX_DISKS:
        raise Rejected(
            f"an instance of template {before.disk_template} has 1 to {requests.MAX_DISKS} disks, "
            f"not {len(now.disks)}",
            reason=Reason.STATE,
            object_name=before.name,
        )
    return _edited(before.disks, now.disks)


def _edited(before: tuple[Disk, ...], after: tuple[Disk, ...]) -> Edited:
    old, new = [one.uuid for one in before], [one.uuid for one in after]
    kept = [uuid for uuid in old if uuid in new]
    return Edited(
        disks=after,
        made=tuple(at for at, uuid in enumerate(new) if uuid not in old),
        gone=tuple((at, one) for at, one in enumerate(before) if one.uuid not in new),
        last=old[: len(kept)] == kept == new[: len(kept)],
    )


def _changed(one: DiskChange, now: Instance, given: Given) -> tuple[Disk, ...]:
    if one.action not in ("add", "modify", "remove"):
        raise Rejected(f"a disk cannot be {one.action!r}", "use add, modify or remove")
    adds = one.action == "add"
    at = disks.index(now, one.which, inserting=adds)
    if adds:
        return (*now.disks[:at], _new(one.values, at, now, given), *now.disks[at:])
    if one.action == "remove":
        if one.values != DiskValues():
            raise Rejected("a disk that is removed takes no values")
        return (*now.disks[:at], *now.disks[at + 1 :])
    return disks.with_disk(now, at, _other(one.values, at, now.disks[at]))


def _new(values: DiskValues, at: int, now: Instance, given: Given) -> Disk:
    if values.size is None:
        raise Rejected(f"the size of disk {at} is missing", "such as add:size=10G")
    fields: dict[str, Any] = {
        name: value for name, value in msgspec.structs.asdict(values).items() if value is not None
    }
    beside = now.disks[0] if now.disks else None
    if beside is None:
        raise Rejected("the last disk cannot be replaced in one change", "add the new one first")
    directory = str(PurePosixPath(beside.path).parent)
    request = requests.DiskRequest(**fields)
    return requests.disk(request, at, now.disk_template, directory, beside.driver, given)


def _other(values: DiskValues, at: int, disk: Disk) -> Disk:
    if values.size is not None:
        raise Rejected(f"the size of disk {at} is not changed here", "use gnt-instance grow-disk")
    if values.format is not None:
        raise Rejected(f"the format of disk {at} cannot be changed")
    try:
        mode = disk.mode if values.mode is None else DiskMode(values.mode)
    except ValueError:
        raise Rejected(f"disk {at}: mode is rw or ro, not {values.mode!r}") from None
    name = disk.name
    if values.name is not None:
        name = None if values.name == "none" else names.plain(values.name, "a disk")
    changed = requests.of_mirrored(disk, at, values.on_degraded, values.resync_rate)
    return msgspec.structs.replace(changed, mode=mode, name=name)


def told(before: Instance, after: Instance) -> list[tuple[str, Any]]:
    """What changed, in Ganeti's words."""
    old = {one.uuid: one for one in before.disks}
    kept = {one.uuid for one in after.disks}
    found: list[tuple[str, Any]] = [
        (f"disk/{at}", "remove") for at, one in enumerate(before.disks) if one.uuid not in kept
    ]
    for at, one in enumerate(after.disks):
        was = old.get(one.uuid)
        if was is None:
            found.append((f"disk/{at}", f"add:size={one.size},mode={one.mode}"))
            continue
        if was.mode is not one.mode:
            found.append((f"disk.mode/{at}", one.mode.value))
        if was.name != one.name:
            found.append((f"disk.name/{at}", one.name or "none"))
        if was.on_degraded is not one.on_degraded:
            found.append((f"disk.on_degraded/{at}", one.on_degraded.value))
        if was.resync_rate != one.resync_rate:
            found.append((f"disk.resync_rate/{at}", one.resync_rate))
    return found
