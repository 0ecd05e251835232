"""Programs of a site that we run with our own rights: whether nobody else can have changed one."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def complaint(path: Path) -> str:
    """Why the program is not run, in words; empty where it may be.

    It is an executable file, and that file and every directory on the way to it belong to root
    (or to us) and can be written by nobody else. Links are followed: what counts is their end.
    """
    try:
        real = path.resolve(strict=True)
        status = real.stat()
    except (OSError, RuntimeError) as error:
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        return f"{path}: {why}"
    if not stat.S_ISREG(status.st_mode):
        return f"{path} is not a file"
    if not os.access(real, os.X_OK):
        return f"{path} is not executable: chmod +x"
    for one in (real, *real.parents):
        found = _others(one, one.stat())
        if found:
            return found
    return ""


def _others(path: Path, status: os.stat_result) -> str:
    """Who else could have changed what is there."""
    if status.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to user {status.st_uid}: chown it to root"
    shared = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if not shared and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{path} can be written by others than its owner: chmod go-w"
    return ""
