"""Processes that outlive us: started in a session of their own, and recognised again later.

A process is known by its pid *and* its start time, so that a reused pid is never mistaken
for it. Its end is told by a pidfd, never by polling. What the process does is not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from gantry.model.errors import OperationFailed, Reason


class Identity(msgspec.Struct, frozen=True):
    """Which process: its pid, and when it started (clock ticks since the machine did)."""

    pid: int
    started: int


def identity(pid: int) -> Identity | None:
    """The process that has this pid now; None where there is none, or only its remains."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The program's name, in parentheses, may hold anything: count from its end.
    state, *fields = text[text.rindex(b")") + 2 :].split()
    return None if state in (b"Z", b"X") else Identity(pid, int(fields[18]))


def holder(path: Path) -> Identity | None:
    """A process, other than this one, that has ``path`` open; None where nobody has."""
    wanted = path.stat()
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit() or int(directory.name) == os.getpid():
            continue
        if _has_open(directory / "fd", wanted):
            return identity(int(directory.name))
    return None


def ask_to_end(which: Identity) -> bool:
    """Ask a process to end in an orderly way; False where it has ended already."""
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(which.pid)
        try:
            # Only now can the pid not be given to another one.
            if identity(which.pid) == which:
                signal.pidfd_send_signal(pidfd, signal.SIGTERM)
                return True
        finally:
            os.close(pidfd)
    return False


def _has_open(directory: Path, wanted: os.stat_result) -> bool:
    try:
        for entry in directory.iterdir():
            try:
                found = entry.stat()
            except OSError:
                continue
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                return True
    except OSError:
        return False
    return False


class Daemon:
    """One such process, watched until ``let_go``."""

    def __init__(self, which: Identity, pidfd: int) -> None:
        self.identity = which
        self._pidfd = pidfd
        self._loop = asyncio.get_running_loop()
        self._ended: Callable[[str], None] | None = None

    @classmethod
    def adopt(cls, which: Identity) -> Daemon | None:
        """The process again, after a restart of ours; None where it is gone."""
        try:
            pidfd = os.pidfd_open(which.pid)
        except ProcessLookupError:
            return None
        # Only now, with the pidfd in hand, can the pid not be given to another one.
        if identity(which.pid) != which:
            os.close(pidfd)
            return None
        return cls(which, pidfd)

    def watch(self, ended: Callable[[str], None]) -> None:
        """Call ``ended`` once, in the event loop, with how the process ended (or "")."""
        self._ended = ended
        self._loop.add_reader(self._pidfd, self._end)

    def kill(self) -> None:
        """End it at once; one that has ended is fine."""
        if self._pidfd < 0:
            return
        try:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return

    def terminate(self) -> None:
        """Ask it to end in an orderly way; one that has ended is fine."""
        if self._pidfd < 0:
            return
        try:
            signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)
        except ProcessLookupError:
            return

    def let_go(self) -> None:
        """Watch it no more; it goes on."""
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _end(self) -> None:
        how = _reap(self._pidfd)
        self.let_go()
        if self._ended is not None:
            self._ended(how)


def _reap(pidfd: int) -> str:
    try:
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:  # adopted: not ours to reap
        return ""
    if result is None:
        return ""
    if result.si_code == os.CLD_EXITED:
        return f"it exited with status {result.si_status}"
    return f"it was ended by signal {result.si_status} ({signal.strsignal(result.si_status)})"


def spawn(
    argv: Sequence[str],
    *,
    inherited: Sequence[int],
    errors: int,
    environment: Mapping[str, str],
) -> Daemon:
    """Start a program in its own session, at ``/``, without input and output.

    ``inherited`` are the file descriptors that it gets under the same numbers; ``errors``
    becomes its standard error. OperationFailed where it cannot be executed.
    """
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd="/",
            env=dict(environment),
            pass_fds=tuple(inherited),
            start_new_session=True,
            umask=0o077,
        )
    except OSError as error:
        raise OperationFailed(
            f"cannot execute {argv[0]}: {error.strerror}",
            "install the program, or mend the parameter that names it",
            reason=Reason.ENVIRONMENT,
        ) from error
    which = identity(process.pid) or Identity(process.pid, 0)
    pidfd = os.pidfd_open(process.pid)
    # It is reaped through its pidfd; the object must not complain that nobody waited for it.
    process.returncode = 0
    return Daemon(which, pidfd)
