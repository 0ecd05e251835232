"""Disks that are there: looked at, and made larger, also under a running guest."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from gantry.agent import disk_use
from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.model.disk_orders import DiskGrow, DiskSeen, DisksSeen, ReadDisks
from gantry.model.entities import DiskTemplate
from gantry.model.errors import GantryError
from gantry.model.orders import DiskSpec, Nothing
from gantry.storage import growing


async def grow(parts: Parts, order: DiskGrow, task: Task) -> Nothing:
    """Through the hypervisor where the guest runs, as it has the file open; else the file."""
    storage, disk = parts.storage(order.disk), order.disk
    if disk.template is DiskTemplate.MIRROR:
        return await _mirrored(parts, order)
    path = Path(storage.real_path(disk))
    driver = parts.hypervisor(order.hypervisor)
    up = any(guest.uuid == order.guest and guest.up for guest in driver.guests())
    if up:
        now = await asyncio.to_thread(growing.size, disk, path)
        if now < order.size * growing.MIB:
            growing.room(disk, path, order.size - now // growing.MIB)
        if await driver.resize_disk(order.guest, disk.index, order.size):
            parts.facts.disturbed()
            return Nothing()
    else:
        disk_use.no_script(parts, order.guest, order.guest)
        await disk_use.unattached(parts, (disk,), order.guest)
    await growing.grow(disk, path, order.size)
    parts.facts.disturbed()
    return Nothing()


async def _mirrored(parts: Parts, order: DiskGrow) -> Nothing:
    """The primary's replica: the others are as large already."""
    disk = msgspec.structs.replace(order.disk, size=order.size)
    replicas, driver = parts.replicas, parts.hypervisor(order.hypervisor)
    if any(guest.uuid == order.guest and guest.up for guest in driver.guests()):
        await replicas.storage.growing(disk)
        await driver.resize_disk(order.guest, disk.index, order.size)
        await replicas.storage.grew(disk)
    else:
        disk_use.no_script(parts, order.guest, order.guest)
        await disk_use.unattached(parts, (disk,), order.guest)
    # What has no guest's QEMU, or none that has the file open, grows by itself.
    await replicas.grow(disk)
    parts.facts.disturbed()
    return Nothing()


async def read(parts: Parts, question: ReadDisks) -> DisksSeen:
    """Each disk's size, or what is wrong with it."""
    found = await asyncio.to_thread(lambda: [_seen(parts, disk) for disk in question.disks])
    return DisksSeen(disks=tuple(found))


def _seen(parts: Parts, disk: DiskSpec) -> DiskSeen:
    try:
        path = Path(parts.storage(disk).real_path(disk))
        return DiskSeen(uuid=disk.uuid, size=growing.size(disk, path))
    except GantryError as error:
        return DiskSeen(uuid=disk.uuid, problem=str(error))
