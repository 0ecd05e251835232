"""One program run to its end: spawned, watched by its pidfd, ended with its process group.

Blocking, for a worker thread; ``gantry.host.command`` and ``gantry.host.scripts`` put it into
the event loop. Spawning is ``posix_spawn``: a fork of a big process would cost 60 to 90 ms.
The program inherits our umask (an agent's is 077) and, unless ``directory`` is given, our
working directory (an agent's is ``/``). No output is read here: it goes to files.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from gantry.host.daemon import Identity, identity
from gantry.model import timeouts

_ENV: Final = "/usr/bin/env"
_SHELL: Final = "/bin/sh"
SIGNALS: Final = tuple(
    sorted(int(one) for one in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
)
"""All that a program can be given again as they are at first."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a program ended. ``problem`` says why it could not be started at all."""

    exit_status: int | None = None
    signal: int | None = None
    timed_out: bool = False
    cancelled: bool = False
    problem: str = ""
    duration: float = 0.0
    user_time: float = 0.0
    system_time: float = 0.0

    @property
    def succeeded(self) -> bool:
        """Exit status 0, by itself."""
        return self.exit_status == 0 and not self.timed_out and not self.cancelled


class Stop:
    """Lets another thread ask for a program's end; also wakes a poll that has no timeout."""

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.wanted = False

    def set(self) -> None:
        """Ask for the end."""
        if not self.wanted:
            self.wanted = True
            os.eventfd_write(self.descriptor, 1)

    def close(self) -> None:
        """Nobody waits any more."""
        os.close(self.descriptor)


Action: TypeAlias = tuple[int, int, int] | tuple[int, int, str, int, int]
"""What is done to one descriptor of a program before it begins."""
Later: TypeAlias = tuple[float, Callable[[], None]]
"""Work, and the seconds after a program's start after which it is done."""


class Program(msgspec.Struct, frozen=True):
    """A program that runs, from ``start`` to ``finish``; ``began`` is in monotonic seconds."""

    pid: int
    pidfd: int
    began: float


def run(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    stdout: int,
    stderr: int,
    stdin: int | None = None,
    directory: str | None = None,
    passed: Mapping[int, int] | None = None,
    timeout: float,
    stop: Stop | None = None,
    on_started: Callable[[Identity], None] | None = None,
) -> Ended:
    """Run ``argv`` with exactly ``environment`` in a session of its own.

    ``stdout``, ``stderr``, ``stdin`` are open descriptors (stdin: ``/dev/null`` where None);
    ``passed`` are further ones, by the number that the program has them under.
    After ``timeout`` seconds, or when ``stop`` is set, the whole process group is ended: TERM,
    a grace of ``timeouts.KILL_GRACE`` seconds, KILL. A background child of a program that
    ended by itself goes on and holds nobody up. ``on_started`` is told which process it is.
    """
    try:
        program = start(argv, environment, stdin, stdout, stderr, directory, passed)
    except (OSError, ValueError) as error:
        return Ended(problem=why_not(error))

    def meanwhile() -> None:
        if on_started is not None:
            on_started(identity(program.pid) or Identity(program.pid, 0))

    return finish(program, timeout=timeout, stop=stop, later=[(0.0, meanwhile)])


def start(
    argv: Sequence[str],
    environment: Mapping[str, str] | Mapping[bytes, bytes],
    stdin: int | None,
    stdout: int | str,
    stderr: int | str,
    directory: str | None = None,
    passed: Mapping[int, int] | None = None,
) -> Program:
    """Start a program; ``finish`` must be called. OSError or ValueError where it cannot be.

    An output is a descriptor, or the path of a file that the program opens itself for appending.
    """
    null = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    files: list[Action] = [
        null if stdin is None else given(stdin, 0),
        given(stdout, 1) if isinstance(stdout, int) else appended(stdout, 1),
        given(stderr, 2) if isinstance(stderr, int) else appended(stderr, 2),
        *(given(own, number) for number, own in (passed or {}).items()),
    ]
    return spawn(_within(directory, argv), environment, files, SIGNALS)


def given(descriptor: int, number: int) -> Action:
    """It has our ``descriptor`` as that number."""
    return (os.POSIX_SPAWN_DUP2, descriptor, number)


def appended(path: str, number: int) -> Action:
    """It opens the file for appending, so that it has it open by itself."""
    return (os.POSIX_SPAWN_OPEN, number, path, os.O_WRONLY | os.O_APPEND, 0)


def spawn(
    argv: list[str],
    environment: Mapping[str, str] | Mapping[bytes, bytes],
    files: Sequence[Action],
    ignored: Sequence[int],
) -> Program:
    """``start`` with what is the same for many programs made once.

    ``ignored`` are signals that we ignore, and the program shall not; those that we have a handler
    for it does not inherit.
    """
    keep_what_we_inherited()
    began = time.monotonic()
    pid = os.posix_spawn(
        argv[0],
        argv,
        environment,
        file_actions=files,
        setsid=True,
        setsigmask=(),
        setsigdef=ignored,
    )
    return watched(pid, began)


def watched(pid: int, began: float) -> Program:
    """A program that has just been started; OSError, and it is ended, where there is no pidfd."""
    try:
        return Program(pid, os.pidfd_open(pid), began)
    except OSError:
        # Without a pidfd it could not be waited for.
        _signal_group(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def why_not(error: OSError | ValueError) -> str:
    """Why a program could not be started, in words."""
    if isinstance(error, OSError):
        return f"cannot be executed: {os.strerror(error.errno or 0)}"
    return f"cannot be executed: {error}"  # a NUL in an argument or in the environment


def finish(
    program: Program,
    *,
    timeout: float,
    stop: Stop | None = None,
    later: Sequence[Later] = (),
) -> Ended:
    """Wait for a program's end, as ``run`` says; the rest as ``attend`` does."""
    ended = False
    try:
        try:
            ended = attend(program, timeout=timeout, stop=stop, later=later)
        finally:
            _, status, usage = os.wait4(program.pid, 0)
    finally:
        os.close(program.pidfd)
    stopped = stop is not None and stop.wanted
    return how(program.began, status, usage, ended=ended, stopped=stopped)


def attend(
    program: Program, *, timeout: float, stop: Stop | None, later: Sequence[Later] = ()
) -> bool:
    """Wait until a program has ended, or end it; whether it did so by itself. Nobody reaps it.

    ``timeout`` counts from its start. ``later``: work of the caller's for which the program need
    not wait, each with the seconds after which it is done (in this order) if the program still
    runs; with 0 it is always done. Before a program is ended, which may take a while, what is left
    of it is done.
    """
    deadline = program.began + timeout
    ended = False
    left = deque(later)
    try:
        while left:
            after, work = left[0]
            if after > 0:
                ended = _wait(program.pidfd, min(program.began + after, deadline), stop)
            if ended or (stop is not None and stop.wanted):
                break
            left.popleft()
            work()
        if not ended:
            ended = _wait(program.pidfd, deadline, stop)
        while left and not ended:
            left.popleft()[1]()
    finally:
        if not ended:
            end_group(program.pid, program.pidfd)
    return ended


def how(
    began: float, status: int, usage: resource.struct_rusage, *, ended: bool, stopped: bool
) -> Ended:
    """``ended``: by itself; else it was ended, where ``stopped`` by a cancellation."""
    code, times = os.waitstatus_to_exitcode(status), (usage.ru_utime, usage.ru_stime)
    return of_code(code, time.monotonic() - began, *times, ended=ended, stopped=stopped)


def of_code(
    code: int, duration: float, user: float, system: float, *, ended: bool, stopped: bool
) -> Ended:
    """The same of an exit status or the negative number of a signal, and of times in seconds."""
    return Ended(
        exit_status=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        timed_out=not ended and not stopped,
        cancelled=not ended and stopped,
        duration=duration,
        user_time=user,
        system_time=system,
    )


def end_group(pid: int, pidfd: int) -> None:
    """End the process group that ``pid`` leads: TERM, a grace, KILL; returns when it is dead.

    All members have the grace, also when the leader does not need it.
    """
    members = _members(pid)
    try:
        _signal_group(pid, signal.SIGTERM)
        deadline = time.monotonic() + timeouts.KILL_GRACE
        for member in (pidfd, *members):
            _wait(member, deadline, None)
    finally:
        for member in members:
            os.close(member)
    # Those that ignored it, and those that were started since.
    _signal_group(pid, signal.SIGKILL)
    _wait(pidfd, None, None)


def _members(group: int) -> list[int]:
    """Pidfds of the processes of a group, but not of its leader."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - names only
        if name.isdigit() and int(name) != group and _group_of(int(name)) == group:
            with contextlib.suppress(OSError):
                found.append(os.pidfd_open(int(name)))
    return found


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:
        return None


def end_orphans(records: Sequence[Identity]) -> list[Identity]:
    """End the groups of programs that an earlier process of ours had started; those it ended."""
    found = []
    for record in records:
        try:
            pidfd = os.pidfd_open(record.pid)
        except ProcessLookupError:
            continue
        try:
            if identity(record.pid) == record:
                end_group(record.pid, pidfd)
                found.append(record)
        finally:
            os.close(pidfd)
    return found


@cache
def keep_what_we_inherited() -> None:
    """Mark the descriptors that we were started with: programs get 0 to 2 and no other.

    Python opens all others so that they are closed on exec; ``posix_spawn`` closes none.
    """
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers only
        descriptor = int(name)
        if descriptor <= 2:
            continue
        try:
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFD)
            fcntl.fcntl(descriptor, fcntl.F_SETFD, flags | fcntl.FD_CLOEXEC)
        except OSError:  # the one that listed them
            continue


def _within(directory: str | None, argv: Sequence[str]) -> list[str]:
    """The arguments of a program that runs in that directory, which posix_spawn does not know."""
    if directory is None:
        return list(argv)
    # env(1) changes to it and becomes the program. It would take a program with = in its path
    # for a variable; sh takes everything as it is.
    if "=" not in argv[0]:
        return [_ENV, f"--chdir={directory}", *argv]
    return [_SHELL, "-c", 'cd "$0" && exec "$@"', directory, *argv]


def _wait(pidfd: int, deadline: float | None, stop: Stop | None) -> bool:
    """Wait for the process; False at the deadline (monotonic seconds) or when stop is set."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if stop is not None:
        poll.register(stop.descriptor, select.POLLIN)
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = poll.poll(None if left is None else min(left * 1000 + 1, 2**31 - 1))
        for descriptor, _ in ready:
            if descriptor == pidfd:
                return True
        if ready or (left is not None and deadline is not None and time.monotonic() >= deadline):
            return False


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def exists(program: str) -> bool:
    """Whether ``program`` (an absolute path) is a file that we may execute."""
    return Path(program).is_file() and os.access(program, os.X_OK)
