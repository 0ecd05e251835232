"""Our side of ``spawner_program``, which starts many short scripts for us, one after another.

One such process for all of ours: it is started when a long sequence comes, which need not wait
for it, and ends by itself some time after the last.
"""

from __future__ import annotations

import atexit
import contextlib
import marshal
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, Self, TypeAlias

import msgspec

from gantry.host import process, spawner_program
from gantry.host.daemon import Identity, identity
from gantry.host.process import Program, Stop
from gantry.host.spawner_program import FEW, LENGTH, TRIED
from gantry.model import timeouts

MANY: Final = 24
"""Scripts, of one sequence or of several within a second, for which it is worth while to start
it."""
_LATELY: Final = 1.0
IDLE: Final = 60.0
"""Seconds without work after which it ends."""
_FRESH: Final = 0.5
"""Of those the part after which another one is taken: it may just be ending."""
PATIENCE: Final = timeouts.URGENT
"""Seconds for which it may say nothing while it runs scripts: usually it tells each end within
two, and all that takes longer is looked after by us."""
_FILES: Final = socket.CMSG_SPACE(2 * 4)


class Lost(Exception):
    """The process has gone, or says nothing any more."""


class Wanted(msgspec.Struct, frozen=True, array_like=True):
    """A script to be run: its number, what is added to its environment, how its note begins.

    ``timeout`` in seconds is what it is told; who asks ends it.
    """

    number: int
    path: str
    version: int
    timeout: float
    told: list[bytes]
    note: bytes


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Scripts in their order, and what all have in common.

    ``variables`` are the environments by version, each as one text of variables with NUL between
    them, ``files`` is the directory for outputs without a name, ``notes`` a file that says of each
    short one how it ended before the next one begins, ``document`` one whose text at
    ``deadline_at`` is each one's deadline, or empty.
    """

    scripts: Sequence[Wanted]
    variables: dict[int, bytes]
    files: str
    notes: str
    document: str
    deadline_at: int


class End(msgspec.Struct, frozen=True, kw_only=True):
    """A script has ended: its exit status, or the negative number of a signal; when it began.

    ``files`` are descriptors of what it wrote, or none; whoever is told has to close them.
    ``lost``: there were some, but we had too many open already.
    """

    number: int
    code: int
    began: float
    duration: float
    user_time: float
    system_time: float
    files: tuple[int, ...] = ()
    lost: bool = False


class Long(msgspec.Struct, frozen=True, kw_only=True):
    """A script takes long, and must be looked after until it has ended; then follows ``reap``.

    ``files`` as of an ``End``, none where they are lost; its own end has none.
    """

    number: int
    program: Program
    files: tuple[int, ...]


Event: TypeAlias = End | Long


class Spawner:
    """The process. What is asked of it is asked by one thread at a time (``borrowed``)."""

    def __init__(self) -> None:
        """OSError where it cannot be started."""
        self._connection, theirs = socket.socketpair()
        # It may have been stopped before it has read all that we say.
        self._connection.settimeout(timeouts.URGENT)
        self._ready = self._busy = self._stopped = False
        self._used = time.monotonic()
        argv = [sys.executable, "-I", "-S", spawner_program.__file__, str(IDLE)]
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            program = process.start(argv, {}, theirs.fileno(), null, null)
        except OSError:
            self._connection.close()
            raise
        finally:
            theirs.close()
            os.close(null)
        self.identity = identity(program.pid) or Identity(program.pid, 0)
        threading.Thread(None, _reap, "spawner", (program,), daemon=True).start()

    @property
    def ready(self) -> bool:
        """Whether it has begun, and has not gone."""
        # Once it has begun it says nothing before it is asked.
        if not self._busy and self._readable(0):
            try:
                said = self._read()[0]
            except (Lost, OSError):
                self.close()
            else:
                self._ready = said == (spawner_program.READY,)
        return self._ready and self.usable

    @property
    def usable(self) -> bool:
        """Whether it is or will be there for another order."""
        fresh = time.monotonic() - self._used < IDLE * _FRESH
        return fresh and not self._busy and self._connection.fileno() >= 0

    def close(self) -> None:
        """It ends as soon as it sees this."""
        self._connection.close()

    def run(self, order: Order, stop: Stop) -> Iterator[Event]:
        """Run the scripts up to the last, or to one that cannot be begun, or until ``stop``.

        Each end is told, some time after it happened. Lost where it is not sure what happened:
        of those that are not told the notes say which have ended. Others have not begun, but the
        first of them may have. Where it has gone before it had the order none is run.
        """
        self._busy = True
        try:
            if self._asked(order):
                yield from self._events(stop)
                self._busy = False
        except OSError as error:
            raise Lost(str(error)) from error
        finally:
            self._used = time.monotonic()
            if self._busy:
                # What it would say next belongs to this order.
                self.close()

    def _asked(self, order: Order) -> bool:
        """Whether it got all of the order; else it begins none of them."""
        try:
            self._send(msgspec.to_builtins(order, builtin_types=(bytes,)))
        except OSError:
            return False
        return True

    def reap(self, stop: Stop, *, by_itself: bool) -> None:
        """The last one that took long has ended. Lost."""
        try:
            # First: else the next one begins meanwhile.
            self._pass_on(stop)
            self._send(spawner_program.REAP if by_itself else spawner_program.KILLED)
        except OSError as error:
            raise Lost(str(error)) from error

    def _pass_on(self, stop: Stop) -> None:
        if stop.wanted and not self._stopped:
            self._stopped = True
            self._send(spawner_program.STOP)

    def _events(self, stop: Stop) -> Iterator[Event]:
        self._stopped = False
        while True:
            self._pass_on(stop)
            if not self._readable(PATIENCE, None if self._stopped else stop):
                if stop.wanted and not self._stopped:
                    continue
                # A script may have stopped it: nobody would ever see its end.
                self._kill()
                raise Lost("it says nothing")
            (kind, *values), files, lost = self._read()
            if kind == spawner_program.OVER:
                return
            if kind == spawner_program.ENDED:
                yield from _ends(values[0], files, lost)
            else:
                yield _long(values, files)

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(self.identity.pid)
            try:
                if identity(self.identity.pid) == self.identity:
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            finally:
                os.close(pidfd)

    def _readable(self, timeout: float, stop: Stop | None = None) -> bool:
        poll = select.poll()
        with contextlib.suppress(ValueError):
            poll.register(self._connection, select.POLLIN)
        if stop is not None:
            poll.register(stop.descriptor, select.POLLIN)
        return any(one == self._connection.fileno() for one, _ in poll.poll(timeout * 1000))

    def _send(self, value: Any) -> None:
        packed = marshal.dumps(value)
        self._connection.sendall(LENGTH.pack(len(packed)) + packed)

    def _read(self) -> tuple[Any, tuple[int, ...], bool]:
        """What it says, and the descriptors that come with it, or that they are lost."""
        flags = socket.MSG_CMSG_CLOEXEC
        head, rights, said, _ = self._connection.recvmsg(LENGTH.size, _FILES, flags)
        files = memoryview(b"".join(data for _, _, data in rights)).cast("i").tolist()
        lost = bool(said & socket.MSG_CTRUNC)
        while lost and files:
            os.close(files.pop())
        (length,) = LENGTH.unpack(head + self._whole(LENGTH.size - len(head)))
        value = marshal.loads(self._whole(length))  # noqa: S302 - our own program's
        return value, tuple(files), lost

    def _whole(self, length: int) -> bytes:
        found = bytearray()
        while len(found) < length:
            part = self._connection.recv(length - len(found))
            if not part:
                raise Lost("it has ended")
            found += part
        return bytes(found)


def _ends(told: list[tuple[Any, ...]], files: tuple[int, ...], lost: bool) -> Iterator[End]:
    for at, one in enumerate(told, 1):
        number, code, began, duration, user, system = one
        yield End(
            number=number,
            code=code,
            began=began,
            duration=duration,
            user_time=user,
            system_time=system,
            files=files if at == len(told) else (),
            lost=lost and at == len(told),
        )


def _long(values: Sequence[Any], files: tuple[int, ...]) -> Long:
    number, pid, _, started = values
    try:
        # It is not reaped before we say so: the number is its own.
        program = Program(pid, os.pidfd_open(pid), started)
    except OSError:
        for one in files:
            os.close(one)
        raise
    return Long(number=number, program=program, files=files)


def _reap(program: Program) -> None:
    os.close(program.pidfd)
    os.waitpid(program.pid, 0)


class _One:
    """That of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spawner: Spawner | None = None
        self._since = 0.0
        self._scripts = 0
        """That there were since then."""

    def borrow(self, scripts: int) -> Spawner | None:
        """It, for so many; None where somebody else has it, there is none, or there can be none."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            if self._spawner is None or not self._spawner.usable:
                self.end()
                if self._are_many(scripts):
                    self._spawner = Spawner()
        except (OSError, RuntimeError):
            self._spawner = None
        if self._spawner is None:
            self._lock.release()
        return self._spawner

    def _are_many(self, scripts: int) -> bool:
        now = time.monotonic()
        if now - self._since > _LATELY:
            self._since, self._scripts = now, 0
        self._scripts += scripts
        return self._scripts >= MANY

    def give_back(self) -> None:
        """After ``borrow`` gave one."""
        self._lock.release()

    def end(self) -> None:
        """It is not needed any more."""
        if self._spawner is not None:
            self._spawner.close()
            self._spawner = None


_one = _One()


def _forget() -> None:
    # A copy of this process shares the connection.
    global _one
    _one = _One()


os.register_at_fork(after_in_child=_forget)
atexit.register(lambda: _one.end())


class Borrowed:
    """A context: the spawner for one sequence, if that is long and nobody else has it."""

    def __init__(self, scripts: int) -> None:
        self._scripts = scripts if TRIED else 0
        self.spawner: Spawner | None = None

    def __enter__(self) -> Self:
        if self._scripts >= FEW:
            self.spawner = _one.borrow(self._scripts)
        return self

    def __exit__(self, *_: object) -> None:
        if self.spawner is not None:
            _one.give_back()
