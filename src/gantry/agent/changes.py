"""What changed in the disks of running guests: copied into files beside them, for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.host import command
from gantry.model import timeouts
from gantry.model.asking import Nothing
from gantry.model.increment_orders import (
    Below,
    ChangesClose,
    ChangesOpen,
    Marks,
    MarksDrop,
    ReadMarks,
)
from gantry.model.orders import DiskSpec
from gantry.storage.file import beside

FILE = "changes"
"""What the file of a disk's changes is called, beside it."""


async def begin(parts: Parts, order: ChangesOpen, task: Task) -> Nothing:
    """Copy them; done when this returns."""
    driver = parts.hypervisor(order.hypervisor)
    await driver.end_changes(order.guest)
    files = {disk.index: str(path(parts, disk)) for disk in order.disks}
    try:
        for disk, below in zip(order.disks, order.below, strict=True):
            await _empty(path(parts, disk), disk, below)
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


def path(parts: Parts, disk: DiskSpec) -> Path:
    """The file beside the disk."""
    return beside(Path(parts.storage(disk).real_path(disk)), FILE)


async def _empty(file: Path, disk: DiskSpec, below: Below) -> None:
    """An image of which nothing is there yet, and which says what it will rest on."""
    file.unlink(missing_ok=True)
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-F", below.format, "-b", below.name]
    await command.run([*argv, str(file), f"{disk.size}M"], timeout=timeouts.FAST)
    file.chmod(0o600)


def _remove(parts: Parts, disks: Sequence[DiskSpec]) -> None:
    for disk in disks:
        path(parts, disk).unlink(missing_ok=True)
