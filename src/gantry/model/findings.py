"""What a check of files has to say.

An error is something that does not do what it looks like; a warning may be on purpose.
"""

from __future__ import annotations

import enum

import msgspec


class Level(enum.StrEnum):
    """How bad it is."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"
    """Most likely meant so."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to say of a file, and what to do about it.

    ``path`` is below what was checked; ``line`` is 0 for the file as a whole, ``node`` is set
    where there are many.
    """

    level: Level
    path: str
    line: int = 0
    message: str
    hint: str = ""
    node: str = ""


def error(path: str, message: str, hint: str = "", line: int = 0) -> Finding:
    """Something that does not do what it looks like."""
    return Finding(level=Level.ERROR, path=path, line=line, message=message, hint=hint)


def warning(path: str, message: str, hint: str = "", line: int = 0) -> Finding:
    """Something that may be on purpose."""
    return Finding(level=Level.WARNING, path=path, line=line, message=message, hint=hint)


def note(path: str, message: str, hint: str = "", line: int = 0) -> Finding:
    """Something that most likely is."""
    return Finding(level=Level.NOTE, path=path, line=line, message=message, hint=hint)
