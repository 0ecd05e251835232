"""Starting small programs one after another at the least cost, each in a session of its own.

``os.posix_spawn`` asks for and sets each signal of each program, and puts its environment
together anew: a tenth of what a small script takes. What ``subprocess`` is built on does neither,
where the signals of this process are as Python makes them; elsewhere it is ``os.posix_spawn``.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Self

from gantry.host import process
from gantry.host.outputs import Output
from gantry.host.process import Program

_TRIED: Final = sys.version_info < (3, 14)
"""Whether it is known what ``fork_exec`` takes."""
if _TRIED:
    from _posixsubprocess import fork_exec

    _fork_exec: Final[Callable[..., int]] = fork_exec
_RESTORE_SIGNALS: Final = True
_NEW_SESSION: Final = True
_VFORK: Final = True
_BLOCKED: Final = re.compile(rb"\nSigBlk:\s*([0-9a-f]+)\n")
_IGNORED: Final = re.compile(rb"\nSigIgn:\s*([0-9a-f]+)\n")
_PYTHONS: Final = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
"""Those that Python ignores itself; ``fork_exec`` gives them back to a program."""
_PROBLEM: Final = 200


class Starter:
    """A context, of one thread. ``stdin`` of all programs is ``/dev/null``."""

    def __init__(self) -> None:
        self._stdin = self._problems = self._problem = -1
        self._ignored: tuple[int, ...] = process.SIGNALS
        self._said = bytearray(4)
        self.quick = False
        """Whether programs are started without ``posix_spawn``."""

    def __enter__(self) -> Self:
        self._stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in (self._stdin, self._problems, self._problem):
            if descriptor >= 0:
                os.close(descriptor)

    def many(self) -> None:
        """Several programs follow, so that it is worth while to look how they are started best."""
        with open("/proc/thread-self/status", "rb") as file:  # noqa: PTH123 - on the fast path
            status = file.read()
        ignored, blocked = _numbers(_IGNORED, status), _numbers(_BLOCKED, status)
        if ignored is None or blocked is None:
            return
        self._ignored = ignored
        process.keep_what_we_inherited()
        if _TRIED and not blocked and _PYTHONS.issuperset(ignored):
            self._problems, self._problem = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            self.quick = True

    def start(
        self, argv: Sequence[str], variables: Sequence[bytes], files: tuple[Output, Output]
    ) -> Program:
        """Start a program, which must be waited for. OSError where it cannot be started.

        ``variables`` is its environment, as ``variables_of`` makes it. Where this is ``quick``
        there is no pidfd.
        """
        if not self.quick:
            environment = dict(one.split(b"=", 1) for one in variables)
            actions = (process.given(self._stdin, 0), files[0].as_stdout, files[1].as_stderr)
            return process.spawn(list(argv), environment, actions, self._ignored)
        began = time.monotonic()
        pid = self._fork(argv, variables, files)
        # The program is there by now, or the child has said why not.
        fcntl.ioctl(self._problems, termios.FIONREAD, self._said)
        if not any(self._said):
            return Program(pid, -1, began)
        problem = os.read(self._problems, _PROBLEM)
        os.waitpid(pid, 0)
        raise _why(problem, argv[0])

    def _fork(
        self, argv: Sequence[str], variables: Sequence[bytes], files: tuple[Output, Output]
    ) -> int:
        out = files[0].opened()
        try:
            errors = files[1].opened()
            try:
                return _fork_exec(
                    *(argv, (os.fsencode(argv[0]),), False, (), None, variables),
                    *(self._stdin, -1, -1, out, -1, errors, self._problems, self._problem),
                    *(_RESTORE_SIGNALS, _NEW_SESSION, -1, None, None, None, -1, None, _VFORK),
                )
            finally:
                os.close(errors)
        finally:
            os.close(out)


def variables_of(environment: Mapping[str, str]) -> list[bytes]:
    """The environment as a program is given it; ValueError where it cannot be given."""
    if not environment:
        return []
    # All at once, which is much faster than one after the other.
    if "" in environment or "=" in "".join(environment):
        raise ValueError("illegal environment variable name")
    text = "\0".join(map("=".join, environment.items()))
    made = os.fsencode(text).split(b"\0")
    if len(made) != len(environment):
        raise ValueError("embedded null byte")
    return made


def _numbers(field: re.Pattern[bytes], status: bytes) -> tuple[int, ...] | None:
    """The signals in a field of ``/proc/…/status``; None where it does not say."""
    found = field.search(status)
    if found is None:
        return None
    mask = int(found[1], 16)
    return tuple(one for one in process.SIGNALS if mask >> (one - 1) & 1)


def _why(problem: bytes, program: str) -> OSError:
    """What the child said before it ended: ``OSError:<errno in hexadecimal digits>:``."""
    number = int(problem.split(b":")[1], 16)
    return OSError(number, os.strerror(number), program)
