"""The program that starts short scripts for an agent, one after another at the least cost.

What an agent does about each script pushes the script out of the processor's caches and is pushed
out by it; this process does next to nothing between two of them, and the agent does the rest of
its work for many scripts at once, on another processor where there is one.

It is run by its path, knows nothing of Gantry and imports little. Its standard input is a stream
socket, its argument the seconds without work after which it ends. Both sides send values packed
by ``marshal``, each after its length (4 bytes), and open files with some of them. ``spawner`` is
the other side, and says what each value is.
"""

from __future__ import annotations

import array
import errno
import fcntl
import marshal
import os
import select
import signal
import socket
import struct
import sys
import termios
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

TRIED: Final = sys.version_info < (3, 14)
"""Whether it is known what ``fork_exec`` takes."""
if TRIED:
    from _posixsubprocess import fork_exec

    _fork_exec: Final[Callable[..., int]] = fork_exec
_RESTORE_SIGNALS: Final = True
_NEW_SESSION: Final = True
_VFORK: Final = True
FEW: Final = 8
"""Scripts of a sequence, fewer than which are not worth asking this program."""
AFTER: Final = 0.02
"""Seconds after which the agent looks after a script."""
TOGETHER: Final = 64
"""Ends that are told together, at most."""
SILENT: Final = 1.0
"""Seconds after which an end is told, if none was told meanwhile."""
_ROOM: Final = 32 * 1024
"""Bytes that may wait for the agent: a user may not have more files under way than open."""
_PATIENCE: Final = 10.0
"""Seconds for which there may be too many of them, which others may have sent."""
STOP: Final = "stop"
REAP: Final = "reap"
KILLED: Final = "killed"
"""As ``REAP``, of a script that the agent has ended."""
READY: Final = "ready"
ENDED: Final = "ended"
LONG: Final = "long"
OVER: Final = "over"
LENGTH: Final = struct.Struct("=I")
END: Final = struct.Struct("<idddd")
"""How a script ended, in the file of notes: the code, when it began, how long it took, times."""
ITS_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
_NEW: Final = os.O_TMPFILE | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
_NOTES: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
_PROBLEM: Final = 200


def only_ours(descriptor: int) -> bool:
    """Whether nobody else has the file open. What cannot be told counts as open."""
    try:
        # Who opens it just then would have us ended by SIGIO; of SIGURG nobody takes notice. It
        # holds for one lease.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
    except OSError:
        return False
    return _leased(descriptor)


def _leased(descriptor: int) -> bool:
    try:
        # A lease for writing is given only where there is no other open file.
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    return True


class QuickStart:
    """Starting programs, each in a session of its own, as Python's ``subprocess`` does it."""

    def __init__(self, stdin: int) -> None:
        self._stdin = stdin
        self._problems, self._problem = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._said = bytearray(4)

    def close(self) -> None:
        """No more."""
        os.close(self._problems)
        os.close(self._problem)

    def program(
        self, argv: Sequence[str], variables: Sequence[bytes], out: int, errors: int
    ) -> int:
        """Its number; OSError where it cannot be started, with its name and the reason.

        ``variables`` are ``NAME=value``; the descriptors are those that it writes to.
        """
        pid = _fork_exec(
            *(argv, (os.fsencode(argv[0]),), False, (), None, variables),
            *(self._stdin, -1, -1, out, -1, errors, self._problems, self._problem),
            *(_RESTORE_SIGNALS, _NEW_SESSION, -1, None, None, None, -1, None, _VFORK),
        )
        # The program is there by now, or the child has said why not.
        fcntl.ioctl(self._problems, termios.FIONREAD, self._said)
        if not any(self._said):
            return pid
        # ``OSError:<errno in hexadecimal digits>:``
        problem = int(os.read(self._problems, _PROBLEM).split(b":")[1], 16)
        os.waitpid(pid, 0)
        raise OSError(problem, os.strerror(problem), argv[0])


class _TakesLong(Exception):
    """The script that is waited for has not ended at once."""


class _Patience:
    """Waiting for scripts, for each not long."""

    def __init__(self) -> None:
        self._pid = 0
        signal.signal(signal.SIGALRM, self._alarm)

    def ended(self, pid: int) -> tuple[int, Any] | None:
        """How it ended, and what it used; None where it still runs."""
        self._pid = pid
        try:
            signal.setitimer(signal.ITIMER_REAL, AFTER)
            _, status, usage = os.wait4(pid, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
        except _TakesLong:
            return None
        return status, usage

    def _alarm(self, *_: object) -> None:
        try:
            # What has ended is known in a moment, or is known already: that must not be lost.
            ended = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        except ChildProcessError:
            return
        if ended is None:
            raise _TakesLong


class _Agent:
    """The connection. Nothing goes on without the agent: where it has gone, this program ends."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM)
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def said_something(self, timeout: float = 0) -> bool:
        """Whether there is anything to be read within so many seconds; its end counts."""
        return bool(self._poll.poll(timeout * 1000))

    def read(self) -> Any:
        (length,) = LENGTH.unpack(self._whole(LENGTH.size))
        return marshal.loads(self._whole(length))  # noqa: S302 - our own agent's

    def _whole(self, length: int) -> bytes:
        found = bytearray()
        while len(found) < length:
            part = self._connection.recv(length - len(found))
            if not part:
                _gone()
            found += part
        return bytes(found)

    def tell(self, value: tuple[Any, ...], files: Sequence[int] = ()) -> None:
        packed = marshal.dumps(value)
        packed = LENGTH.pack(len(packed)) + packed
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                sent = self._connection.sendmsg([packed], [rights] if files else [])
                self._connection.sendall(packed[sent:])
            except OSError as error:
                if error.errno != errno.ETOOMANYREFS or time.monotonic() > until:
                    _gone()
                time.sleep(AFTER)  # nobody says when there are fewer
            else:
                return


class _Files:
    """Two files for what a script writes, which the next one has too if nothing was written."""

    def __init__(self) -> None:
        self._directory = ""
        self._device = -1
        self._ourselves = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.both: list[int] = []
        self._names = "", ""

    def below(self, directory: str) -> None:
        """From now on they are made there. Those of the same file system may be used there."""
        try:
            device = os.stat(directory).st_dev  # noqa: PTH116 - little is imported
        except OSError:
            device = -1
        if device < 0 or device != self._device:
            self.close()
        self._directory, self._device = directory, device

    def opened(self) -> tuple[int, int]:
        """Descriptors for a script, which has both open by itself: only so can be told whether
        it still has. OSError where there can be no files."""
        if not self.both:
            self._make()
        out = os.open(self._names[0], ITS_FLAGS, dir_fd=self._ourselves)
        try:
            return out, os.open(self._names[1], ITS_FLAGS, dir_fd=self._ourselves)
        except OSError:
            os.close(out)
            raise

    def _make(self) -> None:
        try:
            for _ in range(2):
                self.both.append(os.open(self._directory, _NEW, 0o600))
        except OSError:
            self.close()
            raise
        self._names = str(self.both[0]), str(self.both[1])

    def unused(self) -> bool:
        """Whether nothing was written and nobody has them open any more."""
        for one in self.both:
            if os.lseek(one, 0, os.SEEK_END):
                return False
            if not _leased(one):
                return False
        return True

    def close(self) -> None:
        while self.both:
            os.close(self.both.pop())


class _Scripts:
    """One order: scripts to be run in their order."""

    def __init__(
        self, agent: _Agent, files: _Files, patience: _Patience, order: dict[str, Any]
    ) -> None:
        self._agent = agent
        self._files = files
        self._patience = patience
        self._variables: dict[int, list[bytes]] = {
            version: joined.split(b"\0") if joined else []
            for version, joined in order["variables"].items()
        }
        self._scripts = order["scripts"]
        self._at: int = order["deadline_at"]
        self._ends: list[tuple[Any, ...]] = []
        self._told = time.monotonic()
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._start = QuickStart(self._null)
        self._stopped = False
        self._notes = self._document = -1
        files.below(order["files"])

    def run(self, notes: str, document: str) -> None:
        """Up to the last, or to the first that cannot be begun: the agent sees why."""
        try:
            self._notes = os.open(notes, _NOTES, 0o600)
            if document:
                self._document = os.open(document, os.O_WRONLY | os.O_CLOEXEC)
            for script in self._scripts:
                if self._stopped or self._agent.said_something():
                    break
                self._one(*script)
        except OSError:
            pass  # the agent tries the same, and is told why
        finally:
            self._close()
        self._tell()
        self._agent.tell((OVER,))

    def _one(
        self, number: int, path: str, version: int, timeout: float, told: list[bytes], note: bytes
    ) -> None:
        out, errors = self._files.opened()
        try:
            began = time.time()
            if self._document >= 0:
                os.pwrite(self._document, b"%.3f" % (began + timeout), self._at)
            started = time.monotonic()
            variables = self._variables[version] + told
            pid = self._start.program((path,), variables, out, errors)
        finally:
            os.close(out)
            os.close(errors)
        found = self._patience.ended(pid)
        long = found is None
        by_itself = self._leave(number, pid, began, started) if long else True
        status, usage = found or os.wait4(pid, 0)[1:]
        end = time.monotonic() - started, usage.ru_utime, usage.ru_stime
        code = os.waitstatus_to_exitcode(status)
        self._ends.append((number, code, began, *end))
        told_at_once = long or started - self._told > SILENT
        if by_itself and not self._note(note + END.pack(code, began, *end)):
            told_at_once = True
        # Where a script fails that wrote nothing, it may be that it could not.
        if not long and (code or not self._files.unused()):
            self._tell(self._files.both)
            self._files.close()
        elif told_at_once or len(self._ends) >= TOGETHER:
            self._tell()

    def _leave(self, number: int, pid: int, began: float, started: float) -> bool:
        """Leave it to the agent until it has ended, by itself or not. It is not reaped before, so
        that its number is its own."""
        self._tell()
        self._agent.tell((LONG, number, pid, began, started), self._files.both)
        self._files.close()
        while True:
            word = self._agent.read()
            if word != STOP:
                return bool(word == REAP)
            self._stopped = True

    def _note(self, note: bytes) -> bool:
        """Before the next one begins: if agent and we are killed, it is clear which of them ran."""
        try:
            if os.write(self._notes, note) == len(note):
                return True
            # The disk is full: what follows would not be where it is looked for.
            os.ftruncate(self._notes, 0)
        except OSError:
            pass
        return False

    def _tell(self, files: Sequence[int] = ()) -> None:
        """Tell the ends that the agent does not know; the files are those of the last one."""
        if self._ends:
            self._agent.tell((ENDED, self._ends), files)
            self._ends = []
            self._told = time.monotonic()

    def _close(self) -> None:
        self._start.close()
        for one in (self._null, self._notes, self._document):
            if one >= 0:
                os.close(one)


def _gone() -> NoReturn:
    # At once: a script that is running is found and ended by the next agent.
    os._exit(0)


def main() -> None:
    """Do what the agent at the other end of the standard input wants, until it goes."""
    patience = _Patience()
    # For ``_leased``. Not ignored: scripts would ignore it too.
    signal.signal(signal.SIGIO, lambda *_: None)
    # Scripts have 0 to 2 of their own.
    connection = socket.socket(fileno=fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3))
    agent, files = _Agent(connection), _Files()
    agent.tell((READY,))
    while agent.said_something(float(sys.argv[1])):
        order = agent.read()
        if order == STOP:
            continue  # it was over already
        _Scripts(agent, files, patience, order).run(order["notes"], order["document"])


if __name__ == "__main__":
    main()
