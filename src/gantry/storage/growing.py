"""The size of disks that are files: read, and made larger; never smaller."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from gantry.host import command, machine
from gantry.model import timeouts
from gantry.model.entities import DiskFormat
from gantry.model.errors import OperationFailed, Reason
from gantry.model.orders import DiskSpec

MIB: Final = 1024 * 1024
_MAGIC: Final = b"QFI\xfb"


def size(disk: DiskSpec, path: Path) -> int:
    """Bytes as a guest sees them. OperationFailed where there is no disk of its format."""
    try:
        found = path.stat().st_size if disk.format is DiskFormat.RAW else qcow2_size(path)
    except OSError as error:
        raise OperationFailed(
            f"disk {disk.index} ({disk.path}): {error.strerror}", reason=Reason.ENVIRONMENT
        ) from error
    if found < 0:
        raise OperationFailed(
            f"disk {disk.index} ({disk.path}) is no {disk.format} image", reason=Reason.ENVIRONMENT
        )
    return found


def qcow2_size(path: Path) -> int:
    """The size in a qcow2 header (QEMU, docs/interop/qcow2: bytes 24 to 31, big-endian), or -1."""
    with path.open("rb") as file:
        header = file.read(32)
    whole = len(header) == 32 and header.startswith(_MAGIC)
    return int.from_bytes(header[24:], "big") if whole else -1


async def grow(disk: DiskSpec, path: Path, wanted: int) -> None:
    """At least ``wanted`` MiB afterwards; OperationFailed, with the space that is free."""
    more = wanted - size(disk, path) // MIB
    if more <= 0:
        return
    room(disk, path, more)
    if disk.format is DiskFormat.RAW:
        _stretch(disk, path, wanted)
        return
    argv = ["qemu-img", "resize", "-q", "-f", disk.format.value, str(path), f"{wanted}M"]
    await command.run(argv, timeout=timeouts.FAST)


def room(disk: DiskSpec, path: Path, more: int) -> None:
    """The file system has ``more`` MiB left; else OperationFailed. A sparse file would take them
    only later, when the guest could not be told any more.
    """
    free = machine.space(path.parent).free
    if free < more:
        raise OperationFailed(
            f"disk {disk.index} ({disk.path}) cannot grow by {more} MiB: {free} MiB are free",
            "give it less, or make room on that file system",
            reason=Reason.NO_RESOURCES,
        )


def _stretch(disk: DiskSpec, path: Path, wanted: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.truncate(handle, wanted * MIB)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise OperationFailed(
            f"disk {disk.index} ({disk.path}) cannot grow to {wanted} MiB: {error.strerror}",
            reason=Reason.ENVIRONMENT,
        ) from error
