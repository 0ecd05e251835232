"""Files of replicas: as large as their disk, with all blocks; and what is said of others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.orders import DiskSpec
from gantry.storage.file import MIB

_LOOK: Final = "look at the file; what is of use there can be copied away, and a replica made anew"


@contextmanager
def told(disk: DiskSpec) -> Iterator[None]:
    """What the system says of it is an OperationFailed."""
    try:
        yield
    except OSError as error:
        raise OperationFailed(
            f"the replica {disk.path} of disk {disk.index}: {error.strerror or error}",
            "see whether its file system is well and not full",
            reason=Reason.ENVIRONMENT,
        ) from error


def unfit(disk: DiskSpec, why: str) -> Rejected:
    """It must not be used."""
    return Rejected(
        f"the replica {disk.path} of disk {disk.index} cannot be used: {why}",
        _LOOK,
        reason=Reason.STATE,
    )


def allocate(path: Path, size: int) -> os.stat_result:
    """A new file of ``size`` MiB with all its blocks, full of zeros."""
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    handle = os.open(path, flags, 0o600)
    try:
        os.posix_fallocate(handle, 0, size * MIB)
        os.fsync(handle)
        return os.fstat(handle)
    finally:
        os.close(handle)


def sparse(path: Path, size: int) -> bool:
    """Whether blocks are missing: an installation, a file that became mirrored, a discard."""
    return path.stat().st_blocks * 512 < size * MIB


def allocated(path: Path, size: int) -> None:
    """A file that is there already gets that size and all its blocks."""
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.ftruncate(handle, size * MIB)
        os.posix_fallocate(handle, 0, size * MIB)
        os.fsync(handle)
    finally:
        os.close(handle)
