"""Copying an image onto a disk: the data alone, without a way through this process."""

from __future__ import annotations

import errno
import fcntl
import os

from guest.inputs import Fault
from guest.sparse_dump import clear, disk_bytes, extents

_FICLONE = 0x40049409
_MOST = 1 << 30


def copy(source: int, target: int) -> None:
    """Make the beginning of a disk the same as an image; of a file, all else on it zeros.

    Blocks are shared where the file system can. Fault where the image is larger.
    """
    size, room = os.fstat(source).st_size, disk_bytes(target)
    if size > room:
        raise Fault(
            f"the image has {-(-size >> 20)} MiB, the disk {room >> 20} MiB: give it a larger disk"
        )
    clear(target, size)
    if _share(source, target, room):
        return
    for start, length in extents(source, size):
        _piece(source, target, start, length)


def _share(source: int, target: int, room: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    os.ftruncate(target, room)
    return True


def _piece(source: int, target: int, start: int, length: int) -> None:
    while length:
        try:
            done = os.copy_file_range(source, target, min(length, _MOST), start, start)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            os.lseek(target, start, os.SEEK_SET)
            done = os.sendfile(target, source, start, min(length, _MOST))
        if done == 0:
            raise Fault("the image became shorter while it was copied")
        start += done
        length -= done
