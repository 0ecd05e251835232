"""Several programs with pipes between them, run to their end as one.

What goes through them is seen by nobody here. Each program has a session of its own, as all
that we start; the end of one is the end of all: those that do not see it by themselves, in a
few seconds, are ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from gantry.host import command, process
from gantry.host.daemon import Identity, identity
from gantry.host.process import Ended, Program, Stop
from gantry.model.errors import OperationFailed, Reason

_PIPE: Final = 1 << 20
"""Bytes in a pipe: fewer turns between the programs."""
_SEE_THE_END: Final = 5.0
"""Seconds for the others once one has failed."""
_LAST_WORDS: Final = 2000
_CHATTER: Final = re.compile(
    # The last one is about the name of a peer that is an URI, which socat does not look at.
    r"^\s*$|^\d+\+\d+ records |^\d+ bytes |socat\[\d+\] N |Unknown subject type \d+ \(GEN_DNS"
)
_FULL: Final = "No space left"
_LEFT: Final = "Broken pipe"
"""Said by those who are not ended by a signal where nobody reads any more what they write."""
_COPIED: Final = re.compile(rb"^(\d+) bytes", re.MULTILINE)


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One program. ``argv[0]`` may be a bare name; ``errors`` is the file that it appends to.

    ``called`` is its name where a shell becomes it.
    """

    argv: tuple[str, ...]
    errors: Path
    environment: Mapping[str, str]
    passed: Mapping[int, int] = {}
    called: str = ""

    @property
    def name(self) -> str:
        """Of the program, for messages."""
        return self.called or Path(self.argv[0]).name


class Failed(OperationFailed):
    """A program of a pipeline failed; ``stage`` is which."""

    code = "pipeline-failed"

    def __init__(self, message: str, stage: Stage, hint: str = "") -> None:
        super().__init__(message, hint, reason=Reason.ENVIRONMENT)
        self.stage = stage


async def run(
    stages: Sequence[Stage],
    *,
    stdin: int | None = None,
    stdout: int | None = None,
    timeout: float,
    started: Callable[[Stage, Identity], None],
) -> None:
    """Run all to their end. ``Failed`` where one fails: the first of those that say why.

    ``stdin`` and ``stdout`` are open descriptors, which are closed here once the programs have
    them; ``/dev/null`` where None. ``started`` is told each process, in another thread. A
    cancellation, or ``timeout`` seconds, end all of them first.
    """
    try:
        ready = [_found(stage) for stage in stages]
    except BaseException:
        _close(stdin, stdout)
        raise
    stop = Stop()
    ended, early = await command.in_thread(
        stop, lambda: _work(ready, stdin, stdout, timeout, stop, started)
    )
    problem = _problem(stages, ended, early, timeout)
    if problem is not None:
        raise problem


def copied(errors: Path) -> int:
    """The bytes that a dd said that it copied; 0 where it did not get as far."""
    found = _COPIED.findall(errors.read_bytes()[-_LAST_WORDS:]) if errors.exists() else []
    return int(found[-1]) if found else 0


def read_so_far(which: Identity) -> int | None:
    """The bytes that a running process has read; None where it runs no more."""
    try:
        if identity(which.pid) != which:
            return None
        text = Path(f"/proc/{which.pid}/io").read_text()
    except OSError:
        return None
    return int(text.split("rchar:", 1)[1].split()[0])


def pipe() -> tuple[int, int]:
    """A pipe (its reading, its writing end) with much room in it."""
    reading, writing = os.pipe()
    _make_room(writing)
    return reading, writing


@contextlib.contextmanager
def roomy(named: Path) -> Iterator[None]:
    """Meanwhile a named pipe has much room in it, and who writes to it need not wait for a reader.

    Nor is he told that there is none any more: end him.
    """
    held = os.open(named, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _make_room(held)
        yield
    finally:
        os.close(held)


def _make_room(end: int) -> None:
    with contextlib.suppress(OSError):  # a limit of the system's: it is slower then
        fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, _PIPE)


def _found(stage: Stage) -> Stage:
    return msgspec.structs.replace(stage, argv=(command.find(stage.argv[0]), *stage.argv[1:]))


def _work(
    stages: Sequence[Stage],
    stdin: int | None,
    stdout: int | None,
    timeout: float,
    stop: Stop,
    started: Callable[[Stage, Identity], None],
) -> tuple[list[Ended], tuple[int, ...]]:
    programs: list[Program] = []
    problem = ""
    inlet = stdin
    for stage in stages:
        last = stage is stages[-1]
        following, outlet = (None, stdout) if last else pipe()
        try:
            programs.append(_start(stage, inlet, outlet))
        except (OSError, ValueError) as error:
            problem = process.why_not(error)
            _close(inlet, outlet, following, None if last else stdout)
            break
        _close(inlet, outlet)
        inlet = following
        pid = programs[-1].pid
        try:
            started(stage, identity(pid) or Identity(pid, 0))
        except BaseException:
            # Nobody knows of it: none of them may go on.
            _close(following, None if last else stdout)
            _until_all_ended(programs, time.monotonic(), stop)
            raise
    deadline = time.monotonic() + (0.0 if problem else timeout)
    ended, early = _until_all_ended(programs, deadline, stop)
    return (ended, early) if not problem else ([*ended, Ended(problem=problem)], (len(ended),))


def _start(stage: Stage, inlet: int | None, outlet: int | None) -> Program:
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC) if outlet is None else None
    stage.errors.touch(mode=0o600)
    try:
        out = outlet if outlet is not None else null
        assert out is not None
        return process.start(
            stage.argv,
            stage.environment,
            inlet,
            out,
            str(stage.errors),
            passed=stage.passed,
        )
    finally:
        _close(null)


def _until_all_ended(
    programs: Sequence[Program], deadline: float, stop: Stop
) -> tuple[list[Ended], tuple[int, ...]]:
    """How each ended, and the first (their places) that failed or left those they read from."""
    poll = select.poll()
    poll.register(stop.descriptor, select.POLLIN)
    running = {program.pidfd: place for place, program in enumerate(programs)}
    ended: dict[int, Ended] = {}
    early: tuple[int, ...] = ()
    for pidfd in running:
        poll.register(pidfd, select.POLLIN)
    while running and not stop.wanted and time.monotonic() < deadline:
        gone: list[int] = []
        for pidfd, _ in poll.poll(max(0.0, deadline - time.monotonic()) * 1000 + 1):
            if pidfd == stop.descriptor:
                continue
            poll.unregister(pidfd)
            gone.append(running.pop(pidfd))
            ended[gone[-1]] = process.finish(programs[gone[-1]], timeout=1e9)
        left = min(running.values(), default=len(programs))
        causes = tuple(
            place
            for place in gone
            if not ended[place].succeeded or place > left or _was_left(ended.get(place - 1))
        )
        # Who closes a pipe may end after the one who finds it closed, on either side.
        if causes and all(_found_an_end(ended, place) for place in early):
            early = (*early, *causes)
            deadline = min(deadline, time.monotonic() + _SEE_THE_END)
    for place in running.values():
        # Its time is over: its group is ended.
        ended[place] = process.finish(programs[place], timeout=0.0, stop=stop)
    return [ended[place] for place in range(len(programs))], early


def _problem(
    stages: Sequence[Stage], ended: Sequence[Ended], early: tuple[int, ...], timeout: float
) -> Failed | None:
    """The failure that tells most: of those that ended first, one that had a reason of its own."""
    failed = [place for place, one in enumerate(ended) if not one.succeeded]
    if not failed:
        return None
    left = {place for place in failed if _LEFT in _said(stages[place])}
    causes = sorted(
        early or failed, key=lambda place: (place in left, _consequence(ended[place]), place)
    )
    full = [place for place in failed if _FULL in _said(stages[place])]
    stage, one = stages[(full or causes)[0]], ended[(full or causes)[0]]
    if one.succeeded:
        return Failed(f"{stage.name} ended before it had all{_said(stage)}", stage)
    return Failed(f"{stage.name} {_how(one, timeout)}{_said(stage)}", stage)


def _was_left(one: Ended | None) -> bool:
    """Whether it ended since nobody read any more what it wrote."""
    return one is not None and one.signal == signal.SIGPIPE


def _found_an_end(ended: Mapping[int, Ended], place: int) -> bool:
    """Whether it was left, or read to the end of the one before, which was not left."""
    before = ended.get(place - 1)
    read_all = ended[place].succeeded and before is not None and not _was_left(before)
    return read_all or _was_left(ended[place])


def _consequence(one: Ended) -> int:
    """How likely it is that it only found another one gone."""
    if _was_left(one):
        return 3
    if one.timed_out or one.cancelled:
        return 2
    return 1 if one.succeeded else 0


def _how(one: Ended, timeout: float) -> str:
    if one.problem:
        return one.problem
    if one.cancelled:
        return "was ended"
    if one.timed_out:
        return f"did not end within {timeout:g} s, so it was ended"
    if one.signal is not None:
        return f"was ended by signal {one.signal}"
    return f"ended with exit status {one.exit_status}"


def _said(stage: Stage) -> str:
    """Its last words, without what dd and socat also say when all is well."""
    if not stage.errors.exists():
        return ""
    text = stage.errors.read_bytes()[-_LAST_WORDS:].decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if not _CHATTER.search(line)]
    return ": " + "; ".join(lines[-3:]) if lines else ""


def _close(*descriptors: int | None) -> None:
    for one in descriptors:
        if one is not None:
            os.close(one)
