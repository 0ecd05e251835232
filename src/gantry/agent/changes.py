"""What changed in the disks of running guests: copied into files beside them, for a while."""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gantry.agent import chains, exports
from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.host import command
from gantry.model import timeouts
from gantry.model.asking import Nothing
from gantry.model.backup_orders import DumpFile
from gantry.model.increment_orders import (
    Below,
    ChangesClose,
    ChangesOpen,
    ExportUnchanged,
    Marks,
    MarksDrop,
    ReadMarks,
    ReadStamps,
    Stamps,
)
from gantry.model.orders import DiskSpec
from gantry.storage.file import beside

FILE = "changes"
"""What the file of a disk's changes is called, beside it."""
_SETTLED: Final = 1.0
"""Seconds after which a file's time of change is that of no later write."""


async def begin(parts: Parts, order: ChangesOpen, task: Task) -> Nothing:
    """Copy them; done when this returns."""
    driver = parts.hypervisor(order.hypervisor)
    await driver.end_changes(order.guest)
    files = {disk.index: str(path(parts, disk)) for disk in order.disks}
    try:
        for disk, below in zip(order.disks, order.below, strict=True):
            await _empty(path(parts, disk), disk.size, below)
        await driver.copy_changes(
            order.guest, files, since=order.since, mark=order.mark, say=task.say
        )
    except BaseException:
        _remove(parts, order.disks)
        raise
    return Nothing()


async def end(parts: Parts, order: ChangesClose, task: Task) -> Nothing:
    """Nothing of them stays."""
    driver = parts.hypervisor(order.hypervisor)
    await driver.end_changes(order.guest)
    if order.drop is not None:
        await driver.drop_marks(order.guest, [order.drop])
    await asyncio.to_thread(_remove, parts, order.disks)
    return Nothing()


async def drop_marks(parts: Parts, order: MarksDrop, task: Task) -> Nothing:
    """Count no longer."""
    await parts.hypervisor(order.hypervisor).drop_marks(order.guest, order.marks)
    return Nothing()


async def marks(parts: Parts, question: ReadMarks) -> Marks:
    """Since when changes are counted."""
    return Marks(await parts.hypervisor(question.hypervisor).marks(question.guest))


async def none(parts: Parts, order: ExportUnchanged, task: Task) -> Nothing:
    """Dumps in which nothing is new."""
    for dump in order.dumps:
        place = DumpFile(instance=order.instance, name=dump.name)
        file = exports.landing(parts.root, place)
        await _empty(file, dump.size, dump.below)
        await asyncio.to_thread(chains.synced, file)
    return Nothing()


async def stamps(parts: Parts, question: ReadStamps) -> Stamps:
    """Of disks that are files."""

    def read() -> dict[str, str]:
        return {
            disk.uuid: stamp(Path(parts.storage(disk).real_path(disk))) for disk in question.disks
        }

    return Stamps(await asyncio.to_thread(read))


def stamp(file: Path) -> str:
    """What the file system says of its last change; nothing where that may have been just now.

    Its clock may tick slowly: a write soon after another one could have the same time.
    """
    try:
        found, now = _looked_at(file), _clock(file.parent)
    except OSError:
        return ""
    return written(found, now)


def written(found: os.stat_result, now: float) -> str:
    """The same of what was found, where the clock of the file system says ``now``."""
    latest = max(found.st_mtime, found.st_ctime)
    if not stat.S_ISREG(found.st_mode) or not latest < now - _SETTLED:
        return ""
    return f"{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _looked_at(file: Path) -> os.stat_result:
    """NFS remembers for up to a minute what a file was like, but asks its server on opening it:
    then whatever another node wrote before it closed the file is seen.
    """
    handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.fstat(handle)
    finally:
        os.close(handle)


def _clock(directory: Path) -> float:
    """What a file that is made there now has as its time. A file server's clock is its own."""
    with tempfile.TemporaryFile(dir=directory) as made:
        return os.fstat(made.fileno()).st_ctime


def path(parts: Parts, disk: DiskSpec) -> Path:
    """The file beside the disk."""
    return beside(Path(parts.storage(disk).real_path(disk)), FILE)


async def _empty(file: Path, size: int, below: Below) -> None:
    """An image of which nothing is there yet, and which says what it will rest on."""
    file.unlink(missing_ok=True)
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-F", below.format, "-b", below.name]
    await command.run([*argv, str(file), f"{size}M"], timeout=timeouts.FAST)
    file.chmod(0o600)


def _remove(parts: Parts, disks: Sequence[DiskSpec]) -> None:
    for disk in disks:
        path(parts, disk).unlink(missing_ok=True)
