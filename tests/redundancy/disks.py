"""Who may write to the disks of guests just now, as the kernel says it of open files.

QEMU holds a lock on a byte of an image for as long as it has the permission to write to it: one
that waits for a guest to come, or has sent it away, has the file open and not the permission.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

WRITE = 101
"""The byte that stands for QEMU's permission to write."""
_LOCK = re.compile(r"^lock:\s+\d+: OFDLCK +\S+ +\S+ +\S+ +\S+ (\d+) (\d+|EOF)$", re.MULTILINE)
_DISK = re.compile(r"disk\d+$")
_FLAGS = re.compile(r"^flags:\s+([0-7]+)$", re.MULTILINE)


@dataclass(frozen=True, order=True)
class Writer:
    """A process that may write to a file."""

    pid: int
    file: str


@dataclass(frozen=True)
class Used:
    """What a QEMU has open, and whether its guest may be running."""

    pid: int
    writers: frozenset[Writer]
    running: bool


def used(pid: int, below: Path, *, waits: bool) -> Used:
    """Of a QEMU with disks under a directory; ``waits``: it was started to wait for its guest.

    Such a one runs the guest only once it may write to its disks. Any other is taken to run it,
    but where it has its disks open and may write to none: then it has sent the guest away.
    """
    files = list(_open_files(pid, below))
    writers = frozenset(Writer(pid, file) for file, information in files if writes(information))
    disks = [file for file, information in files if _DISK.search(file) and _writable(information)]
    return Used(pid, writers, bool(writers) or not (waits or disks))


def writes(information: str) -> bool:
    """Whether what ``/proc/PID/fdinfo/N`` says is of a file open for writing, with permission."""
    return _writable(information) and any(
        int(first) <= WRITE and (last == "EOF" or int(last) >= WRITE)
        for first, last in _LOCK.findall(information)
    )


def _writable(information: str) -> bool:
    flags = _FLAGS.search(information)
    return flags is not None and int(flags[1], 8) & os.O_ACCMODE != os.O_RDONLY


def of_guests(
    uuids: Mapping[str, str],
    below: Path,
    counts: Callable[[list[bytes]], bool] = lambda _argv: True,
) -> dict[str, list[Used]]:
    """The QEMUs of guests whose uuids are given by name, with disks under a directory.

    Only those whose arguments ``counts`` takes.
    """
    argvs = [(pid, argv) for pid, argv in _running() if counts(argv)]
    return {
        name: [used(pid, below, waits=waits(argv)) for pid, argv in argvs if runs(argv, uuid)]
        for name, uuid in uuids.items()
    }


def runs(argv: list[bytes], uuid: str) -> bool:
    """Whether it is QEMU with that guest."""
    return b"qemu-system" in argv[0] and uuid.encode() in argv and b"-uuid" in argv


def waits(argv: list[bytes]) -> bool:
    """Whether it was started to wait for a guest that comes from elsewhere."""
    return b"-incoming" in argv


def _running() -> Iterable[tuple[int, list[bytes]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                argv = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if len(argv) > 1:
                yield int(entry.name), argv


def twice(found: Iterable[Writer]) -> list[str]:
    """Disks that several processes may write to: a disk has the same file name on every node."""
    disks: dict[str, list[Writer]] = {}
    for one in sorted(found):
        disks.setdefault(Path(one.file).name, []).append(one)
    return [
        f"{disk} is open for writing in several QEMUs: {several}"
        for disk, several in disks.items()
        if len({one.pid for one in several}) > 1
    ]


def _open_files(pid: int, below: Path) -> Iterator[tuple[str, str]]:
    try:
        opened = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return
    for one in opened:
        try:
            file = str(one.readlink())
            if file.startswith(f"{below}/"):
                yield file, Path(f"/proc/{pid}/fdinfo/{one.name}").read_text()
        except OSError:
            continue
