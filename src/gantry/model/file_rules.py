"""What is wrong with a script as a file, whatever it is a script of: pure judgement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gantry.model.findings import Finding, error, warning
from gantry.model.hook_files import Interpreter

_OTHERS_WRITE: Final = 0o002
_GROUP_WRITES: Final = 0o020


def rights(path: str, mode: int, owner: int, user: int) -> Iterator[Finding]:
    """Of a file or directory; ``user`` is who would run it."""
    if mode & _OTHERS_WRITE:
        yield error(path, "everybody may write to it, and so become its user", "chmod o-w")
    elif mode & _GROUP_WRITES:
        yield warning(path, "its group may write to it", "chmod g-w")
    if owner not in (0, user):
        yield error(path, f"user {owner} owns it, who may change it at any time", "chown root")


def interpreter(path: str, found: Interpreter) -> Iterator[Finding]:
    """Of a script that is to be run."""
    if not found.binary and not found.line:
        yield error(
            path,
            "it cannot be run: it has no interpreter",
            "begin it with a line such as #!/bin/sh",
        )
    elif found.missing:
        carriage = found.missing.endswith("\r")
        yield error(
            path,
            f"it cannot be run: {found.missing.rstrip()} is not there"
            + (" (the line ends with a carriage return)" if carriage else ""),
            "write it with the line ends of Unix" if carriage else "install it, or name another",
        )
