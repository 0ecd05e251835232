"""The lock file beside the state file, which keeps a second master out; knows no SQLite."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from gantry.ports.store import StoreLocked


class FileLock:
    """Held until ``release`` or the end of the process; the kernel forgets dead holders."""

    def __init__(self, path: Path, *, exclusive: bool) -> None:
        """Take ``<path>.lock``; raises StoreLocked, naming the holder's pid."""
        name = path.with_name(path.name + ".lock")
        self._descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(
                self._descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB
            )
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise StoreLocked(
                f"the state file {path} is in use by process {holder or 'unknown'}",
                "only one master may run: stop that one first",
                object_name=str(path),
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others in; the file stays, as removing it would race with the next holder."""
        os.close(self._descriptor)
