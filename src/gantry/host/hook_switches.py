"""The file of scripts that are switched off, in a directory of hooks."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from gantry.hooks.disabled import FILE, LIMIT, merged, parse, text
from gantry.model.hook_switch import Switched

_MODE: Final = 0o644
_NONE: Final[Mapping[str, Switched]] = {}
_log = logging.getLogger(__name__)
_read: dict[str, tuple[tuple[int, ...], Mapping[str, Switched]]] = {}


def read(base: Path) -> Mapping[str, Switched]:
    """The last word on each script. Where the file cannot be followed, all scripts run.

    Read again only where it has changed.
    """
    found, problem = _look(base)
    if problem:
        _log.warning("%s/%s: %s; all scripts run", base, FILE, problem)
    return found


def problem(base: Path) -> str:
    """Why the file cannot be followed, or ""."""
    return _look(base)[1]


def write(base: Path, words: Iterable[Switched]) -> None:
    """Take these words down, atomically; OSError where that cannot be done."""
    content = text(merged(_look(base)[0], words))
    base.mkdir(parents=True, exist_ok=True)
    path, part = base / FILE, base / f"{FILE}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(part, flags, _MODE), "wb") as stream:
        os.fchmod(stream.fileno(), _MODE)
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def _look(base: Path) -> tuple[Mapping[str, Switched], str]:
    path = f"{base}/{FILE}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return _NONE, ""
    except OSError as error:
        return _NONE, f"it cannot be read: {error.strerror}"
    try:
        return _content(path, descriptor)
    except (OSError, ValueError) as error:
        return _NONE, f"it cannot be read: {error}"
    finally:
        os.close(descriptor)


def _content(path: str, descriptor: int) -> tuple[Mapping[str, Switched], str]:
    status = os.fstat(descriptor)
    signature = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    known = _read.get(path)
    if known is not None and known[0] == signature:
        return known[1], ""
    if not stat.S_ISREG(status.st_mode) or status.st_size > LIMIT:
        return _NONE, "it is no file, or far too long"
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return _NONE, "others than its owner may write to it, or another user owns it"
    found = parse(os.pread(descriptor, LIMIT, 0))
    _read[path] = signature, found
    return found, ""
