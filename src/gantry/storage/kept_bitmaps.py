"""The file beside a replica with what QEMU counted, while nobody writes to it: ``.NAME.bitmaps``.

The replica's record has its digest from an orderly end to the next time that it is opened. So a
file that another run left, that is damaged or that was put there, is told apart.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Final

NAME: Final = "bitmaps"
_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def keep(path: Path) -> str:
    """Make it durable; its digest, or "" where that cannot be done."""
    try:
        for each, kind in ((path, _FLAGS), (path.parent, _FLAGS | os.O_DIRECTORY)):
            handle = os.open(each, kind)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    except OSError:
        return ""
    return digest(path)


def drop(path: Path) -> None:
    """It is of no use; where it cannot be removed, it is not believed all the same."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """Of the file that is there now; "" where none can be read."""
    try:
        with os.fdopen(os.open(path, _FLAGS), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
