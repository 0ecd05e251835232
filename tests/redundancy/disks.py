"""Who may write to the disks of guests just now, as the kernel says it of open files.

QEMU holds a lock on a byte of an image for as long as it has the permission to write to it: one
that waits for a guest to come, or has sent it away, has the file open and not the permission.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

WRITE = 101
"""The byte that stands for QEMU's permission to write."""
_LOCK = re.compile(r"^lock:\s+\d+: OFDLCK +\S+ +\S+ +\S+ +\S+ (\d+) (\d+|EOF)$", re.MULTILINE)
_FLAGS = re.compile(r"^flags:\s+([0-7]+)$", re.MULTILINE)


@dataclass(frozen=True, order=True)
class Writer:
    """A process that may write to a file."""

    pid: int
    file: str


def writers(pids: Iterable[int], below: Path) -> frozenset[Writer]:
    """Those of the processes that may write to files under a directory. Who has ended is none."""
    return frozenset(
        Writer(pid, file)
        for pid in pids
        for file, information in _open_files(pid, below)
        if writes(information)
    )


def writes(information: str) -> bool:
    """Whether what ``/proc/PID/fdinfo/N`` says is of a file open for writing, with permission."""
    flags = _FLAGS.search(information)
    if flags is None or int(flags[1], 8) & os.O_ACCMODE == os.O_RDONLY:
        return False
    return any(
        int(first) <= WRITE and (last == "EOF" or int(last) >= WRITE)
        for first, last in _LOCK.findall(information)
    )


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
