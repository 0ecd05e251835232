"""What a master process is while it is not the master: its lock, its bell, its next life.

Standard library only: this is all that runs on a node that is no candidate, and on one whose
candidate waits for files.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import sys
from pathlib import Path
from typing import Final, NoReturn

from gantry.model.errors import Reason, Rejected

SOCKET: Final = "run/gantry/standby.sock"
MASTER_SOCKET: Final = "run/gantry/master.sock"
LOCK: Final = "run/gantry/master.lock"


class ProcessLock:
    """Held until the process ends or replaces itself: one master process a node."""

    def __init__(self, root: Path) -> None:
        """Take it; Rejected where another process has it."""
        path = root / LOCK
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise Rejected(
                f"a master process runs on this node already: process {holder or 'unknown'}",
                "one is enough: it waits where it is not the master",
                reason=Reason.STATE,
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)


def runs(root: Path) -> bool:
    """Whether a master process runs on this node, whatever it is doing."""
    try:
        descriptor = os.open(root / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class Bell:
    """The datagram socket at which this node's agent wakes the process that waits.

    It is there only as long as the process waits: an active master has none.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / SOCKET
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.setblocking(False)
        before = os.umask(0o177)
        try:
            self.socket.bind(str(self._path))
        finally:
            os.umask(before)

    def wait(self) -> None:
        """Until somebody rings."""
        select.select([self.socket], [], [])
        self.hush()

    def hush(self) -> None:
        """Whoever rang until now has been heard."""
        try:
            while True:
                self.socket.recv(64)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Nobody can ring any more."""
        self.socket.close()
        self._path.unlink(missing_ok=True)


class BeginAnew(Exception):
    """The node's files say something else now: the process has to look at them again."""


def replace_process(ready: int | None = None) -> NoReturn:
    """Begin anew as the same process: nothing of what it held or knew is left.

    ``ready`` is where it is still to be told that it is ready.
    """
    argv = [*sys.orig_argv]
    if ready is None and "--ready-fd" in argv:
        place = argv.index("--ready-fd")
        del argv[place : place + 2]
    os.execv(sys.executable, [sys.executable, *argv[1:]])  # noqa: S606 - our own program
