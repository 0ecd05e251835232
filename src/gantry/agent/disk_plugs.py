"""Disks that come to a guest that runs, that it lets go of, and that become mirrored under it."""

from __future__ import annotations

import asyncio

from gantry.agent import disk_use
from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.hypervisors.contract import Hypervisor
from gantry.model.disk_orders import DiskConvert, DiskPlug, DiskUnplug
from gantry.model.entities import DiskTemplate
from gantry.model.names import Uuid
from gantry.model.orders import Nothing
from gantry.storage import taken_over


async def plug(parts: Parts, order: DiskPlug, task: Task) -> Nothing:
    """Give it to the guest, unless it is in use otherwise."""
    await disk_use.unattached(parts, (order.disk,), order.guest)
    await parts.hypervisor(order.hypervisor).plug_disk(order.guest, order.disk)
    return Nothing()


async def unplug(parts: Parts, order: DiskUnplug, task: Task) -> Nothing:
    """Ask the guest for it, and wait until it has let go."""
    driver = parts.hypervisor(order.hypervisor)
    if _up(driver, order.guest):
        await driver.unplug_disk(order.guest, order.disk, order.timeout, keep=order.keep)
    return Nothing()


async def convert(parts: Parts, order: DiskConvert, task: Task) -> Nothing:
    """The same file as a disk of another template. The record of a replica stays beside a file."""
    driver = parts.hypervisor(order.hypervisor)
    if _up(driver, order.guest):
        if order.disk.template is DiskTemplate.MIRROR:
            storage = parts.replicas.storage
            await asyncio.to_thread(taken_over.take_over, storage, order.disk)
        await driver.convert_disk(order.guest, order.disk)
    return Nothing()


def _up(driver: Hypervisor, guest: Uuid) -> bool:
    return any(one.uuid == guest and one.up for one in driver.guests())
