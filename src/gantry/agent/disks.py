"""Orders about disks."""

from __future__ import annotations

from gantry.agent import disk_use
from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.model.entities import DiskTemplate
from gantry.model.orders import DiskCreate, DiskMove, DiskRemove, Nothing


async def create(parts: Parts, order: DiskCreate, task: Task) -> Nothing:
    """Make an empty disk."""
    await parts.storage(order.disk).create(order.disk)
    parts.facts.disturbed()
    return Nothing()


async def move(parts: Parts, order: DiskMove, task: Task) -> Nothing:
    """Give a disk another path."""
    await parts.storage(order.disk).move(order.disk, order.path)
    return Nothing()


async def remove(parts: Parts, order: DiskRemove, task: Task) -> Nothing:
    """Remove a disk, whatever a script that was interrupted has left of it on the node."""
    if order.untouched and not await parts.storage(order.disk).untouched(order.disk):
        return Nothing()
    if order.disk.template is DiskTemplate.MIRROR:
        await parts.replicas.end(order.disk)
    await disk_use.release(parts, order.disk, task)
    await parts.storage(order.disk).remove(order.disk)
    parts.facts.disturbed()
    return Nothing()
