"""What a script's content is, as a hash; read again only where the file has changed."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from typing import Final, TypeAlias

_LIMIT: Final = 64 * 1024 * 1024
"""Bytes; what is longer is no script, and has no hash in the records."""
_KEPT: Final = 20_000
FRESH: Final = 2_000_000_000

Signature: TypeAlias = tuple[int, int, int, int, int]
_known: dict[Signature, str] = {}
_lock = threading.Lock()


def digest(path: str, listed: Signature | None = None, began: float = 0.0) -> str:
    """The SHA-256 of the file, in hexadecimal; empty where it cannot be read.

    Where the file has been running since ``began`` (seconds since 1970) and has changed, or gone,
    since then, that of what it was when it was ``listed``, if that is known.
    """
    earlier = _known.get(listed, "") if listed is not None else ""
    try:
        status = os.stat(path)  # noqa: PTH116 - on the fast path
        now = signature(status)
        found = _known.get(now)
        if now != listed and earlier and status.st_ctime > began:
            return earlier
        if found is not None:
            return found
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return earlier
    try:
        return _of(descriptor)
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def known(listed: Signature) -> bool:
    """Whether the digest of such a file is known without reading it."""
    return listed in _known


def size(listed: Signature) -> int:
    """Bytes of such a file."""
    return listed[2]


def _of(descriptor: int) -> str:
    status = os.fstat(descriptor)
    which = signature(status)
    found = _known.get(which)
    if found is None:
        if status.st_size > _LIMIT:
            return ""
        with open(descriptor, "rb", closefd=False) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if time.time_ns() - status.st_ctime_ns < FRESH:
            # It may change again without that its times do.
            return found
        with _lock:
            if len(_known) >= _KEPT:
                _known.clear()
            _known[which] = found
    return found


def signature(status: os.stat_result) -> Signature:
    """Another one where the file has changed, or is another file."""
    # The time of the last change of the inode too: nobody can set that one back.
    times = status.st_mtime_ns, status.st_ctime_ns
    return status.st_dev, status.st_ino, status.st_size, *times
