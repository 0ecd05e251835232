"""Reading files of a definition to show them: only what everybody on the node may read.

Which files a definition has is said by ``gantry.osdefs.search``; nothing else is opened.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from gantry.model.live import OsFacts
from gantry.model.os_texts import MAX_FILES, MAX_TEXT, OsText, OsTexts

_ALL_READ: Final = stat.S_IROTH


def read(facts: OsFacts, paths: Iterable[str]) -> OsTexts:
    """Those of ``paths`` that the definition has, ``MAX_FILES`` of them at most."""
    known = [path for path in paths if path in facts.files][:MAX_FILES]
    return OsTexts(files=tuple(_read(Path(facts.path), path) for path in known))


def _read(directory: Path, path: str) -> OsText:
    try:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        descriptor = os.open(directory / path, flags)
    except OSError as error:
        return OsText(path=path, note=f"it cannot be read ({error.strerror})")
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISREG(status.st_mode):
            return OsText(path=path, mode=mode, note="it is no regular file")
        if not mode & _ALL_READ:
            return OsText(path=path, mode=mode, note="not everybody on its node may read it")
        if status.st_size > MAX_TEXT:
            return OsText(path=path, mode=mode, note="it is too large")
        content = file.read(MAX_TEXT)
    try:
        if b"\0" not in content:
            return OsText(path=path, mode=mode, text=content.decode("utf-8"))
    except UnicodeDecodeError:
        pass
    return OsText(path=path, mode=mode, note="it is no text")
