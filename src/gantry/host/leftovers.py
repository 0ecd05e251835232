"""What a script of an OS definition leaves behind: processes, mounts, loop devices, mappings.

They are found by what they belong to: the script's session and its environment, the files of
the disks that it was given, the directories of those and of its definition. What was there
before the script is not touched. Blocking, for a worker thread.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from gantry.host import process
from gantry.model import timeouts

_MOUNTS: Final = Path("/proc/self/mountinfo")
_BLOCK: Final = Path("/sys/block")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
_DELETED: Final = " (deleted)"
_SHORT: Final = 2.0
"""Seconds in which the numbers of processes, 32,768 at least, cannot have come round."""
_FLAGS: Final = 6
_KERNEL_THREAD: Final = 0x00200000
"""``PF_KTHREAD`` in the flags of a process, which are this field after its name."""
_AGAIN: Final = 0.001
"""Seconds between two looks at a process that is just being replaced."""
_ROUNDS: Final = 3
"""Looks for processes: one may have started another meanwhile."""
_PROGRAMS: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What a script was given: real paths of disks, its definition's directory, variables.

    ``holding`` are the directories of its disks: of those only what is directly in them counts,
    since disks of another instance may be further down. ``markers`` are ``NAME=value`` strings
    that its environment has and no other script's has.
    """

    files: tuple[str, ...]
    directories: tuple[str, ...]
    holding: tuple[str, ...] = ()
    markers: frozenset[bytes] = frozenset()


class Mount(msgspec.Struct, frozen=True):
    """One line of mountinfo: the mount's number, ``major:minor``, where it is."""

    number: int
    device: str
    point: str


class Loop(msgspec.Struct, frozen=True):
    """A loop device: its name, what is behind it, its and its partitions' ``major:minor``."""

    name: str
    backing: str
    devices: frozenset[str]
    mappings: tuple[str, ...] = ()
    """Device-mapper names of what holds it (kpartx)."""
    going: bool = False
    """The kernel detaches it by itself once nobody has it open any more."""


class Before(msgspec.Struct, frozen=True):
    """What was there already: numbers of mounts, (name, backing file) of loop devices."""

    mounts: frozenset[int]
    loops: frozenset[tuple[str, str]]


class Cleared(msgspec.Struct, frozen=True, kw_only=True):
    """What was found: ``gone`` what is cleared away, ``stuck`` what could not be, and why."""

    gone: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()


def look() -> Before:
    """What is there before a script runs."""
    return Before(
        frozenset(one.number for one in mounts(_read(_MOUNTS))),
        frozenset((one.name, one.backing) for one in loops(_BLOCK)),
    )


def clear(
    scope: Scope, before: Before, session: int | None, duration: float | None = None
) -> Cleared:
    """Find and clear away what is there since ``before``; ``session`` is the script's.

    ``duration`` are the seconds that it ran, where known: after a short time only processes
    that were started after it need be looked at.
    Processes are ended first, since they keep the rest busy, then mounts from the last to the
    first, then mappings and loop devices.
    """
    scope = _resolved(scope)
    gone: list[str] = []
    stuck: list[str] = []
    short = duration is not None and duration < _SHORT
    for found in _end_processes(scope, session, short):
        gone.append(found)
    theirs = [
        one
        for one in loops(_BLOCK)
        if (one.name, one.backing) not in before.loops and _within(one.backing, scope)
    ]
    for mount in new_mounts(mounts(_read(_MOUNTS)), before, scope, theirs):
        _note(_unmount(mount.point), f"the mount {mount.point}", gone, stuck)
    for loop in theirs:
        what = f"the loop device /dev/{loop.name} of {loop.backing}"
        if _still(loop):
            _note(_detach(loop), what, gone, stuck)
        else:
            gone.append(what)
    return Cleared(gone=tuple(gone), stuck=tuple(stuck))


def attached(files: Sequence[str]) -> tuple[str, ...]:
    """Loop devices of these files, and where they are mounted; in words.

    One that the kernel is about to let go of by itself, and that is not mounted, does not count.
    """
    real = {os.path.realpath(file) for file in files}
    theirs = [one for one in loops(_BLOCK) if one.backing in real]
    if not theirs:
        return ()
    now = mounts(_read(_MOUNTS))
    found = []
    for loop in theirs:
        points = [one.point for one in now if one.device in loop.devices]
        if points:
            found.append(f"{loop.backing} is /dev/{loop.name}, mounted on {', '.join(points)}")
        elif not loop.going:
            found.append(f"{loop.backing} is /dev/{loop.name}")
    return tuple(found)


def release(file: str) -> Cleared:
    """Unmount and detach all that a file is behind, whoever has made it."""
    if not any(one.backing == os.path.realpath(file) for one in loops(_BLOCK)):
        return Cleared()
    nothing = Before(frozenset(), frozenset())
    return clear(Scope(files=(file,), directories=()), nothing, None)


def remaining(directory: str) -> tuple[str, ...]:
    """What is mounted below a directory, and the loop devices of files there, in words."""
    found = [one.point for one in mounts(_read(_MOUNTS)) if _below(one.point, [directory])]
    theirs = [one for one in loops(_BLOCK) if _below(one.backing, [directory])]
    return (
        *(f"the mount {point}" for point in found),
        *(f"the loop device /dev/{one.name} of {one.backing}" for one in theirs if not one.going),
    )


def mounts(text: str) -> list[Mount]:
    """The lines of a mountinfo file, in their order."""
    found = []
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) > 4 and fields[0].isdigit():
            point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
            found.append(Mount(int(fields[0]), fields[2], point))
    return found


def loops(block: Path) -> list[Loop]:
    """The loop devices that something is behind; ``block`` is ``/sys/block``."""
    found = []
    names = (name for name in os.listdir(block) if name.startswith("loop"))  # noqa: PTH208
    for name in sorted(names):
        backing = _read(f"{block}/{name}/loop/backing_file").rstrip("\n")
        if not backing:
            continue
        directory = block / name
        holders = [block / each.name for each in directory.glob("holders/dm-*")]
        files = [
            directory / "dev",
            *directory.glob(f"{directory.name}p*/dev"),
            *(each / "dev" for each in holders),
        ]
        found.append(
            Loop(
                directory.name,
                backing.removesuffix(_DELETED),
                frozenset(_read(file).strip() for file in files),
                tuple(_read(each / "dm/name").strip() for each in holders),
                _read(directory / "loop/autoclear").strip() == "1",
            )
        )
    return found


def new_mounts(
    now: Sequence[Mount], before: Before, scope: Scope, theirs: Sequence[Loop]
) -> list[Mount]:
    """Mounts of these loop devices, within the scope's directories, or below one of those.

    Only such as were not there before; the one to be taken away first comes first.
    """
    devices = frozenset[str]().union(*(one.devices for one in theirs))
    new = [one for one in now if one.number not in before.mounts]
    roots = [one for one in new if one.device in devices or _within(one.point, scope)]
    points = [one.point for one in roots]
    found = [one for one in new if one in roots or _below(one.point, points)]
    return sorted(found, key=lambda one: (one.point.count("/"), one.number), reverse=True)


def _resolved(scope: Scope) -> Scope:
    """With paths as the kernel shows them, links followed."""
    return msgspec.structs.replace(
        scope,
        files=tuple(os.path.realpath(each) for each in scope.files),
        directories=tuple(os.path.realpath(each) for each in scope.directories),
        holding=tuple(os.path.realpath(each) for each in scope.holding),
    )


def _below(path: str, directories: Sequence[str]) -> bool:
    return any(path == each or path.startswith(each.rstrip("/") + "/") for each in directories)


def _within(path: str, scope: Scope) -> bool:
    near = path in scope.holding or os.path.dirname(path) in scope.holding  # noqa: PTH120
    return near or path in scope.files or _below(path, scope.directories)


def _read(path: Path | str) -> str:
    """A small file of the kernel's; nothing where it is not there. It is read for every script."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        parts = []
        while part := os.read(descriptor, 1 << 16):
            parts.append(part)
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return b"".join(parts).decode("utf-8", "surrogateescape")


def _numbers(session: int | None, short: bool) -> range:
    """The numbers that processes may have which were started since ``session``, if ``short``."""
    last = _read("/proc/loadavg").split()[-1:]
    if not short or session is None or not last or int(last[0]) < session:
        return range(1, 1 << 31)
    return range(session + 1, int(last[0]) + 1)


def _still(loop: Loop) -> bool:
    return any((one.name, one.backing) == (loop.name, loop.backing) for one in loops(_BLOCK))


def _note(problem: str, what: str, gone: list[str], stuck: list[str]) -> None:
    if problem:
        stuck.append(f"{what} ({problem})")
    else:
        gone.append(what)


def _unmount(point: str) -> str:
    """Why it could not be unmounted; a busy one is taken away lazily."""
    if not _run("umount", "--", point):
        return ""
    return _run("umount", "--lazy", "--", point)


def _detach(loop: Loop) -> str:
    for mapping in loop.mappings:
        problem = _run("dmsetup", "remove", "--retry", mapping)
        if problem:
            return problem
    return _run("losetup", "--detach", f"/dev/{loop.name}")


def _run(name: str, *arguments: str) -> str:
    """Run a program to its end; why it failed, or nothing."""
    for directory in _PROGRAMS["PATH"].split(":"):
        if process.exists(f"{directory}/{name}"):
            break
    else:
        return f"the program {name} is not installed"
    with tempfile.TemporaryFile() as output:
        ended = process.run(
            [f"{directory}/{name}", *arguments],
            _PROGRAMS,
            stdout=output.fileno(),
            stderr=output.fileno(),
            timeout=timeouts.URGENT,
        )
        output.seek(0)
        said = output.read(1000).decode("utf-8", "replace").strip()
    if ended.succeeded:
        return ""
    return said.splitlines()[-1] if said else f"{name} failed"


def _end_processes(scope: Scope, session: int | None, short: bool) -> Iterator[str]:
    for _ in range(_ROUNDS):
        found = list(_processes(scope, session, _numbers(session, short)))
        if not found:
            return
        for pid, _ in found:
            yield f"process {pid} ({_command(pid)})"
        _end([pidfd for _, pidfd in found])


def _processes(scope: Scope, session: int | None, numbers: range) -> Iterator[tuple[int, int]]:
    """Processes of the script, each with its pidfd, which is the caller's to close."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - names only
        if not name.isdigit() or int(name) not in numbers or int(name) == os.getpid():
            continue
        try:
            pidfd = os.pidfd_open(int(name))
        except OSError:
            continue
        if _is_theirs(int(name), scope, session):
            yield int(name), pidfd
        else:
            os.close(pidfd)


def _is_theirs(pid: int, scope: Scope, session: int | None) -> bool:
    try:
        if _state(pid) in ("Z", "X"):
            return False
        if session is not None and os.getsid(pid) == session:
            return True
        if not scope.markers:
            return False
        return scope.markers <= set(_environment(pid).split(b"\0"))
    except OSError:
        return False


def _environment(pid: int) -> bytes:
    """A process's environment; OSError where it is gone.

    The kernel shows none, and no arguments, while a process is being replaced by another
    program (from ``exec`` until that one is loaded): then it is read again, for a short time,
    since nothing tells when it is over.
    """
    deadline = time.monotonic() + timeouts.EXEC
    while True:
        found = Path(f"/proc/{pid}/environ").read_bytes()
        if found or int(_status(pid)[_FLAGS]) & _KERNEL_THREAD or time.monotonic() > deadline:
            return found
        if Path(f"/proc/{pid}/cmdline").read_bytes():
            return Path(f"/proc/{pid}/environ").read_bytes()
        time.sleep(_AGAIN)


def _state(pid: int) -> str:
    return _status(pid)[0]


def _status(pid: int) -> list[str]:
    """The fields of proc(5)'s ``stat`` from the state on."""
    return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()


def _command(pid: int) -> str:
    """What the process is, shortly, without its arguments: there may be a secret in them."""
    return _read(Path(f"/proc/{pid}/comm")).strip() or "gone meanwhile"


def _end(pidfds: Sequence[int]) -> None:
    """TERM, a grace, KILL; closes the descriptors."""
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pidfd in pidfds:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    signal.pidfd_send_signal(pidfd, number)
            deadline = time.monotonic() + timeouts.KILL_GRACE
            if all([_ended(pidfd, deadline) for pidfd in pidfds]):
                return
    finally:
        for pidfd in pidfds:
            os.close(pidfd)


def _ended(pidfd: int, deadline: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
