"""A replica becomes larger: room for it first, its size later, when the cluster's state has it.

Nothing here can go wrong for want of space once there is room. What is added is zeros, so that
replicas which grew at different times are the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from gantry.host import allocation, machine
from gantry.model.errors import OperationFailed, Reason
from gantry.model.orders import DiskSpec
from gantry.storage import replica_record
from gantry.storage.replica_record import ReplicaRecord

MIB: Final = 1024 * 1024


@contextmanager
def touched(record: Path, found: ReplicaRecord, path: Path) -> Iterator[None]:
    """The file's time changes, by nobody's write: its record does not take it for one."""
    closed = found.clean and not found.before
    if closed:
        found = begun(record, found, found.size)
    try:
        yield
    finally:
        if closed:
            ended(record, found, path)


def reserve(disk: DiskSpec, path: Path, size: int) -> None:
    """The file system keeps room for ``size`` MiB; the file is as large as it was.

    OperationFailed, with what is free, where there is none; nothing is kept then.
    """
    with _opened(path) as handle:
        more = size - os.fstat(handle).st_size // MIB
        free = machine.space(path.parent).free
        try:
            if more > 0 and allocation.behind_the_end(handle, size * MIB):
                return
        except OSError:
            give_back(handle)
            raise
        if more > free:
            raise _does_not_fit(disk, more, free)


def unreserve(path: Path) -> None:
    """Room that is not used is given back."""
    with _opened(path) as handle:
        give_back(handle)


def give_back(handle: int) -> None:
    """What an open file has behind its end."""
    os.ftruncate(handle, os.fstat(handle).st_size)


def begun(record: Path, found: ReplicaRecord, size: int) -> ReplicaRecord:
    """Somebody is about to make the file so large; written down before."""
    before = found.before or found.size
    growing = msgspec.structs.replace(found, size=size, before=before, bitmaps="")
    replica_record.write(record, growing)
    return growing


def ended(record: Path, found: ReplicaRecord, path: Path) -> ReplicaRecord:
    """It is as large as it is now, with all its blocks."""
    status = path.stat()
    grown = msgspec.structs.replace(
        found, size=status.st_size // MIB, before=0, mtime_ns=status.st_mtime_ns
    )
    replica_record.write(record, grown)
    return grown


def grow(disk: DiskSpec, record: Path, found: ReplicaRecord, path: Path) -> ReplicaRecord:
    """The file has the disk's size afterwards; who has it open sees that only anew."""
    if found.size >= disk.size and not found.before:
        return found
    reserve(disk, path, disk.size)
    growing = begun(record, found, max(disk.size, found.size))
    with _opened(path) as handle:
        if os.fstat(handle).st_size < disk.size * MIB:
            os.ftruncate(handle, disk.size * MIB)
        os.posix_fallocate(handle, 0, disk.size * MIB)
        os.fsync(handle)
    return ended(record, growing, path)


def _does_not_fit(disk: DiskSpec, more: int, free: int) -> OperationFailed:
    return OperationFailed(
        f"the replica {disk.path} of disk {disk.index} cannot grow by {more} MiB: {free} MiB are "
        "free",
        "give it less, or make room on that file system",
        reason=Reason.NO_RESOURCES,
    )


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        yield handle
    finally:
        os.close(handle)
