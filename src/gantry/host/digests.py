"""What a script's content is, as a hash; read again only where the file has changed."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from typing import Final

_LIMIT: Final = 64 * 1024 * 1024
"""Bytes; what is longer is no script, and has no hash in the records."""
_KEPT: Final = 20_000
_FRESH: Final = 2_000_000_000

_Signature = tuple[int, int, int, int, int]
_known: dict[_Signature, str] = {}
_lock = threading.Lock()


def digest(path: str) -> str:
    """The SHA-256 of the file, in hexadecimal; empty where it cannot be read."""
    try:
        found = _known.get(_signature(os.stat(path)))  # noqa: PTH116 - on the fast path
        if found is not None:
            return found
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return _of(descriptor)
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _of(descriptor: int) -> str:
    status = os.fstat(descriptor)
    signature = _signature(status)
    found = _known.get(signature)
    if found is None:
        if status.st_size > _LIMIT:
            return ""
        with open(descriptor, "rb", closefd=False) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if time.time_ns() - status.st_ctime_ns < _FRESH:
            # It may change again without that its times do.
            return found
        with _lock:
            if len(_known) >= _KEPT:
                _known.clear()
            _known[signature] = found
    return found


def _signature(status: os.stat_result) -> _Signature:
    # The time of the last change of the inode too: nobody can set that one back.
    times = status.st_mtime_ns, status.st_ctime_ns
    return status.st_dev, status.st_ino, status.st_size, *times
