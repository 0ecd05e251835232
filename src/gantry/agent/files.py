"""Writing the small files that scripts read (``ssconf_*``); nothing else may be written."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Final

from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.orders import FilesWrite, Nothing

DIRECTORY: Final = "var/lib/ganeti"
_NAME: Final = re.compile(r"ssconf_[a-z0-9_]{1,64}")


async def write(parts: Parts, order: FilesWrite, task: Task) -> Nothing:
    """Each file is replaced as a whole; Rejected with nothing written where a name is no such."""
    for name in order.files:
        if not _NAME.fullmatch(name):
            raise Rejected(
                f"{name!r} is not a file that a master may write",
                "only ssconf_… files are written",
                node=parts.node,
            )
    directory = parts.root / DIRECTORY
    try:
        await asyncio.to_thread(_write, directory, order.files)
    except OSError as error:
        raise OperationFailed(
            f"files in {directory} of node {parts.node} cannot be written: {error.strerror}",
            "make room, or mend the rights of the directory",
            reason=Reason.ENVIRONMENT,
            node=parts.node,
        ) from error
    return Nothing()


def _write(directory: Path, files: dict[str, str]) -> None:
    directory.mkdir(parents=True, exist_ok=True, mode=0o755)
    for name, text in files.items():
        path, part = directory / name, directory / f".{name}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(part, flags, 0o644), "w") as stream:
            # Scripts of other users read them, whatever our umask is.
            os.fchmod(stream.fileno(), 0o644)
            stream.write(text)
        part.replace(path)
