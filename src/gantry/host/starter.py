"""Starting small programs one after another at the least cost, each in a session of its own.

``os.posix_spawn`` asks for and sets each signal of each program, and puts its environment
together anew: a tenth of what a small script takes. What ``subprocess`` is built on does neither,
where the signals of this process are as Python makes them; elsewhere it is ``os.posix_spawn``.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Final, Self

from gantry.host import process
from gantry.host.outputs import Output
from gantry.host.process import Program
from gantry.host.spawner_program import TRIED, QuickStart

_BLOCKED: Final = re.compile(rb"\nSigBlk:\s*([0-9a-f]+)\n")
_IGNORED: Final = re.compile(rb"\nSigIgn:\s*([0-9a-f]+)\n")
_PYTHONS: Final = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
"""Those that Python ignores itself; ``fork_exec`` gives them back to a program."""


class Starter:
    """A context, of one thread. ``stdin`` of all programs is ``/dev/null``."""

    def __init__(self) -> None:
        self._stdin = -1
        self._many = False
        self._ignored: tuple[int, ...] = process.SIGNALS
        self._quick: QuickStart | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stdin >= 0:
            os.close(self._stdin)
        if self._quick is not None:
            self._quick.close()

    @property
    def quick(self) -> bool:
        """Whether programs are started without ``posix_spawn``."""
        return self._quick is not None

    def many(self) -> None:
        """Several programs follow, so that it is worth while to look how they are started best."""
        self._many = True

    def _get_ready(self) -> None:
        """As late as the first program: who has them started by others needs none of it."""
        self._stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        if not self._many:
            return
        with open("/proc/thread-self/status", "rb") as file:  # noqa: PTH123 - on the fast path
            status = file.read()
        ignored, blocked = _numbers(_IGNORED, status), _numbers(_BLOCKED, status)
        if ignored is None or blocked is None:
            return
        self._ignored = ignored
        process.keep_what_we_inherited()
        if TRIED and not blocked and _PYTHONS.issuperset(ignored):
            self._quick = QuickStart(self._stdin)

    def start(
        self, argv: Sequence[str], variables: Sequence[bytes], files: tuple[Output, Output]
    ) -> Program:
        """Start a program, which must be waited for. OSError where it cannot be started.

        ``variables`` is its environment, as ``variables_of`` makes it. Where this is ``quick``
        there is no pidfd.
        """
        if self._stdin < 0:
            self._get_ready()
        if self._quick is None:
            environment = dict(one.split(b"=", 1) for one in variables)
            actions = (process.given(self._stdin, 0), files[0].as_stdout, files[1].as_stderr)
            return process.spawn(list(argv), environment, actions, self._ignored)
        began = time.monotonic()
        out = files[0].opened()
        try:
            errors = files[1].opened()
            try:
                pid = self._quick.program(argv, variables, out, errors)
            finally:
                os.close(errors)
        finally:
            os.close(out)
        return Program(pid, -1, began)


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
