"""Replicas that become larger: room for it, and then the size."""

from __future__ import annotations

from gantry.agent import disk_use
from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.model.asking import Nothing
from gantry.model.entities import DiskTemplate
from gantry.model.errors import Reason, Rejected
from gantry.model.orders import DiskSpec
from gantry.model.replica_orders import ReplicaGrow, ReplicaReserve


async def reserve(parts: Parts, order: ReplicaReserve, task: Task) -> Nothing:
    """Keep room, or give back what was kept."""
    await parts.replicas.storage.reserve(_mirrored(order.disk), order.size)
    parts.facts.disturbed()
    return Nothing()


async def grow(parts: Parts, order: ReplicaGrow, task: Task) -> Nothing:
    """It is as large as its disk."""
    disk = _mirrored(order.disk)
    if parts.replicas.served(disk.uuid) is None:
        await disk_use.unattached(parts, (disk,), disk.path)
    await parts.replicas.grow(disk)
    parts.facts.disturbed()
    return Nothing()


def _mirrored(disk: DiskSpec) -> DiskSpec:
    if disk.template is not DiskTemplate.MIRROR:
        raise Rejected(
            f"disk {disk.index} is of template {disk.template}, which has no replicas",
            reason=Reason.INPUT,
        )
    return disk
