"""What the machine has: memory, processors, disk space, which boot this is.

Read from the kernel at every call, but for the boot; nothing is changed.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

import msgspec

_MIB = 1024 * 1024


class Memory(msgspec.Struct, frozen=True):
    """In MiB. ``free`` is what new processes can get, caches included."""

    total: int
    free: int


class Space(msgspec.Struct, frozen=True):
    """A file system's space in MiB. ``free`` is what this process may use."""

    total: int
    free: int


class Processors(msgspec.Struct, frozen=True):
    """Logical processors that this process may use, and sockets of the machine."""

    count: int
    sockets: int


@functools.cache
def boot_id() -> str:
    """A uuid that changes with every boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def memory() -> Memory:
    """From ``/proc/meminfo`` (proc(5): MemTotal, MemAvailable, in KiB)."""
    sizes: dict[str, int] = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        sizes[name] = int(rest.split()[0])
    free = sizes.get("MemAvailable", sizes.get("MemFree", 0))
    return Memory(sizes["MemTotal"] // 1024, free // 1024)


def processors() -> Processors:
    """From the scheduler and ``/proc/cpuinfo``."""
    sockets = {
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("physical id")
    }
    return Processors(len(os.sched_getaffinity(0)), max(1, len(sockets)))


def space(directory: Path) -> Space:
    """Of the file system that holds ``directory``, or will once it is made."""
    existing = directory
    while not existing.exists():
        existing = existing.parent
    found = os.statvfs(existing)
    return Space(found.f_blocks * found.f_frsize // _MIB, found.f_bavail * found.f_frsize // _MIB)


def process_memory(pid: int) -> int:
    """Resident MiB of a process; 0 where it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // _MIB
