"""Running a script of a definition about an instance: its log, progress, and how it ended.

The same for ``create``, ``rename``, ``export`` and ``import`` (OS interface, section 3). Which
variables a script gets is ``gantry.osdefs.environment``'s business.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from gantry.host import machine
from gantry.host.leftovers import Scope
from gantry.model import names
from gantry.model.errors import OperationFailed, Reason
from gantry.model.live import OsFacts
from gantry.model.orders import OsRun
from gantry.osdefs import running
from gantry.osdefs.follow import Follower, last_lines
from gantry.osdefs.running import Streams

LAST_LINES: Final = 20
_MARKERS: Final = ("INSTANCE_UUID", "OS_NAME", "EXPORT_INDEX", "IMPORT_INDEX", "OLD_INSTANCE_NAME")
"""Variables by whose values a process is known as this script's; those that are there."""
_LONGEST: Final = 220
"""Characters of a log's name before its time."""
_FULL: Final = 2
"""MiB free, below which a file system is called full."""


class Scripted(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a script: which, about what, with which variables.

    ``doing`` begins the error where it fails ("installing web1.example.com"); ``kind`` and
    ``instance`` are parts of the log's name; ``hidden`` are values that are shown nowhere;
    ``files`` and ``directories`` are real paths that the script works with, directly in which
    nothing of its may remain.
    """

    facts: OsFacts
    script: str
    run: OsRun
    variables: Mapping[str, str]
    kind: str
    instance: str
    doing: str
    hidden: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    streams: Streams = Streams()
    guest: running.Guest | None = None
    """What runs the script where it does not run on the node; ``variables`` are then its own."""


class Care(msgspec.Struct, frozen=True, kw_only=True):
    """How one run of a script is looked after.

    ``progress`` gets every line of the script's output while it runs, within bounds, and what
    it left behind; ``on_started`` is told the process before anything waits for it; ``timeout``
    is in seconds, ``now`` tells the time for the log's name.
    """

    log_directory: Path
    progress: Callable[[str], None]
    timeout: float
    on_started: running.OnStarted | None = None
    now: Callable[[], float] = time.time


Watch: TypeAlias = Callable[[Coroutine[None, None, running.Ended]], Awaitable[running.Ended]]
"""Waits for a script, and may see another end in it."""


def directories(paths: Sequence[str]) -> tuple[str, ...]:
    """The directories of disks that are files: what is directly in them is one instance's."""
    found = {str(Path(path).parent) for path in paths if Path(path).is_file()}
    return tuple(sorted(found))


async def run_logged(it: Scripted, care: Care, watch: Watch | None = None) -> Path:
    """Run the script to its end, as ``watch`` waits for it, and return the path of its log.

    OperationFailed where the script fails, with its last 20 lines, and where it left something
    behind that cannot be cleared away. A cancelled call ends all of the script's processes first.
    """
    log = await asyncio.to_thread(_make_log, care.log_directory, it, care.now())

    def say(line: str) -> None:
        care.progress(running.redact(line, it.hidden))

    ends: list[running.Ended] = []
    script = running.run(
        it.facts,
        it.script,
        (),
        environment=it.variables,
        timeout=care.timeout,
        output=log,
        streams=it.streams,
        guest=it.guest,
        scope=scope(it),
        on_started=care.on_started,
        on_ended=ends.append,
    )
    try:
        what = f"{it.script} of {it.run.os} for {it.run.name}"
        ended = await _followed(script, log, say, what, watch)
    finally:
        for each in ends:
            _say_what_was_found(it, each, log, say)
    if not ended.succeeded or ended.stuck:
        raise await asyncio.to_thread(_failure, it, log, ended)
    return log


def _say_what_was_found(
    it: Scripted, ended: running.Ended, log: Path, say: Callable[[str], None]
) -> None:
    for what in ended.left:
        say(f"{it.script} left {what} behind: cleared away")
    for what in ended.stuck:
        say(f"{it.script} left {what} behind, which cannot be cleared away")
    if ended.unwritten:
        say(f"its log {log} is not complete: {ended.unwritten}")


def scope(it: Scripted) -> Scope:
    """Where something of it may remain."""
    markers = (f"{name}={it.variables[name]}" for name in _MARKERS if name in it.variables)
    return Scope(
        files=it.files,
        directories=(),
        holding=it.directories,
        markers=frozenset(os.fsencode(each) for each in markers),
    )


async def _followed(
    script: Coroutine[None, None, running.Ended],
    log: Path,
    say: Callable[[str], None],
    what: str,
    watch: Watch | None,
) -> running.Ended:
    """Wait for the script and pass on what it writes to ``log``."""
    try:
        async with Follower(log, say):
            return await (script if watch is None else watch(script))
    except asyncio.CancelledError:
        say(f"{what} was cancelled; its processes were ended")
        raise
    finally:
        script.close()


def _make_log(directory: Path, it: Scripted, now: float) -> Path:
    """An empty log that only its owner may read, made before the script can write to it."""
    stamp = time.strftime("%Y-%m-%d_%H_%M_%S", time.localtime(now))
    os_name, instance = names.os_name(it.run.os), names.log_part(it.instance)
    path = directory / f"{it.kind}-{os_name}-{instance}"[:_LONGEST]
    path = path.with_name(f"{path.name}-{stamp}.log")
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        return _made(path)
    except OSError as error:
        raise OperationFailed(
            f"the log {path} of {it.run.os} for {it.run.name} cannot be written: {error.strerror}",
            "make room, or mend the rights of the directory",
            reason=Reason.ENVIRONMENT,
            object_name=it.run.name,
        ) from error


def _made(path: Path) -> Path:
    """An empty file of that path, or with a number, where a script runs in the same second.

    Only making it tells whether the name is free: others are made meanwhile. OSError where it
    cannot be made, and where its name is that of a link.
    """
    number, found = 2, path
    while True:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            os.close(os.open(found, flags, 0o600))
        except FileExistsError:
            if found.is_symlink():
                raise
            found = path.with_name(f"{path.stem}.{number}.log")
            number += 1
        else:
            return found


def _failure(it: Scripted, log: Path, ended: running.Ended) -> OperationFailed:
    lines = [running.redact(line, it.hidden) for line in last_lines(log, LAST_LINES)]
    said = f"; last lines of {log}:\n" + "\n".join(lines) if lines else f"; nothing in {log}"
    how, hint = ended.how, "mend what the script says and try again"
    full = _full([str(log), *it.files])
    if full and not ended.succeeded:
        how = f"{how} ({full})"
        hint = "make room on that file system, or give the instance smaller disks; then try again"
    if ended.stuck:
        left = "; ".join(ended.stuck)
        how = f"{how}, and left behind what cannot be cleared away: {left}"
        hint = "see who uses it (fuser -vm), then umount, dmsetup remove or losetup -d it"
    return OperationFailed(
        f"{it.doing} failed: {it.facts.path}/{it.script} {how}{said}",
        hint,
        reason=Reason.ENVIRONMENT,
        object_name=it.run.name,
    )


def _full(paths: Sequence[str]) -> str:
    """Which file system of these has no room left, in words."""
    for path in paths:
        try:
            free = machine.space(Path(path).parent).free
        except OSError:
            continue
        if free < _FULL:
            return f"the file system of {path} is full: {free} MiB free"
    return ""
