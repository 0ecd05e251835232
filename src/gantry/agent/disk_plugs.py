"""Disks that come to a guest that runs, and that it lets go of."""

from __future__ import annotations

from gantry.agent import disk_use
from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.model.disk_orders import DiskPlug, DiskUnplug
from gantry.model.orders import Nothing


async def plug(parts: Parts, order: DiskPlug, task: Task) -> Nothing:
    """Give it to the guest, unless it is in use otherwise."""
    await disk_use.unattached(parts, (order.disk,), order.guest)
    await parts.hypervisor(order.hypervisor).plug_disk(order.guest, order.disk)
    return Nothing()


async def unplug(parts: Parts, order: DiskUnplug, task: Task) -> Nothing:
    """Ask the guest for it, and wait until it has let go."""
    driver = parts.hypervisor(order.hypervisor)
    if any(guest.uuid == order.guest and guest.up for guest in driver.guests()):
        await driver.unplug_disk(order.guest, order.disk, order.timeout)
    return Nothing()
