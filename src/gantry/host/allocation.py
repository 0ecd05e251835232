"""Blocks of files: allocated before they are needed, also behind a file's end (Linux)."""

from __future__ import annotations

import errno
import os
from typing import Final

_KEEP_SIZE: Final = 1
_UNKNOWN: Final = (errno.EOPNOTSUPP, errno.ENOSYS)


def behind_the_end(handle: int, size: int) -> bool:
    """The open file has blocks for ``size`` bytes, and the size that it had. OSError: no space.

    False where the file system knows no such thing.
    """
    import ctypes  # here, for agents that never need it

    library = ctypes.CDLL(None, use_errno=True)
    library.fallocate64.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    while library.fallocate64(handle, _KEEP_SIZE, 0, size) != 0:
        number = ctypes.get_errno()
        if number in _UNKNOWN:
            return False
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    return True
