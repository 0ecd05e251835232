"""A lock file that a process holds for as long as it lives, because it inherited it open.

So whether the process exists is asked of the kernel, and never guessed from pids.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def take(path: Path) -> int | None:
    """The lock, as a descriptor that a process may inherit; None where a process has it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def held(path: Path) -> bool:
    """Whether a process has it: proof, in both directions."""
    handle = take(path)
    if handle is not None:
        os.close(handle)
    return handle is None
