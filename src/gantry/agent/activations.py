"""Orders about disks of instances that are not up."""

from __future__ import annotations

from gantry.agent import disk_use
from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.model.asking import Nothing
from gantry.model.errors import Reason, Rejected
from gantry.model.replica_orders import DisksActivate, DisksDeactivate


async def activate(parts: Parts, order: DisksActivate, task: Task) -> Nothing:
    """Open them and begin to mirror."""
    disk_use.no_script(parts, order.guest, order.name)
    for driver in parts.hypervisors.values():
        if any(guest.uuid == order.guest and guest.up for guest in driver.guests()):
            raise Rejected(
                f"{order.name} is up on node {parts.node}, and has its disks open itself",
                reason=Reason.STATE,
                node=parts.node,
                object_name=order.name,
            )
    await disk_use.unattached(parts, order.disks, order.name)
    await parts.active.activate(order)
    return Nothing()


async def deactivate(parts: Parts, order: DisksDeactivate, task: Task) -> Nothing:
    """End it, in order."""
    await parts.active.deactivate(order.guest)
    return Nothing()
