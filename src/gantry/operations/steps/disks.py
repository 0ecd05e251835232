"""Disks of an instance that exists: which one is meant, and what can be done to it. Pure."""

from __future__ import annotations

import re
from typing import Final

from gantry.model.entities import Disk, DiskTemplate, Instance
from gantry.model.errors import Reason, Rejected

FILES: Final = (DiskTemplate.FILE, DiskTemplate.SHAREDFILE)
_NUMBER: Final = re.compile(r"-?[0-9]{1,4}")
_DRIVE: Final = re.compile(r"sd([a-p])")


def index(instance: Instance, which: int | str, *, inserting: bool = False) -> int:
    """The place of a disk named by number (-1: the last), name, uuid or as ``sda``; or Rejected.

    ``inserting``: one place behind the last is one, too.
    """
    text, count = str(which), len(instance.disks)
    if _NUMBER.fullmatch(text):
        number = int(text)
        number = number if number >= 0 else count + number + inserting
    else:
        places = [at for at, one in enumerate(instance.disks) if text in (one.name, one.uuid)]
        drive = _DRIVE.fullmatch(text)
        number = places[0] if places else ord(drive[1]) - ord("a") if drive else count + 1
    if not 0 <= number < count + inserting:
        raise Rejected(
            f"instance {instance.name} has no disk {text}",
            f"it has {count}, counted from 0: gnt-instance info {instance.name}",
            reason=Reason.INPUT,
            object_name=instance.name,
        )
    return number


def drive(at: int) -> str:
    """``sda`` for disk 0, as hook scripts know it."""
    return "sd" + chr(ord("a") + at)


def some(instance: Instance, what: str) -> None:
    """It has disks, or Rejected."""
    if not instance.disks:
        raise Rejected(
            f"cannot {what}: instance {instance.name} has no disks",
            reason=Reason.STATE,
            object_name=instance.name,
        )


def files(instance: Instance, what: str) -> None:
    """Its disks are files without replicas, or Rejected."""
    if instance.disk_template not in FILES:
        raise Rejected(
            f"cannot {what}: disks of template {instance.disk_template} cannot be",
            "that is for templates " + " and ".join(FILES),
            reason=Reason.STATE,
            object_name=instance.name,
        )


def with_disk(instance: Instance, at: int, disk: Disk) -> tuple[Disk, ...]:
    """All disks, that one being another."""
    return (*instance.disks[:at], disk, *instance.disks[at + 1 :])
