"""Whether a QEMU program has a disk's file open to write, by the locks that it sets on it.

QEMU locks single bytes from 100 and from 200 on (block/file-posix.c), with locks that belong to
the open file and are gone with its process.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import Final

_F_OFD_GETLK: Final = 36
_FLOCK: Final = "hhxxxxqqixxxx"
_FIRST, _SIZE = 100, 200


def held(path: Path) -> bool:
    """Whether somebody has; not where it is not there. OSError."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _FIRST, _SIZE, 0)
        found = struct.unpack(_FLOCK, fcntl.fcntl(handle, _F_OFD_GETLK, asked))
        return bool(found[0] != fcntl.F_UNLCK)
    finally:
        os.close(handle)
