"""Disks of an instance that is not up, mirrored by a storage daemon on its primary node."""

from __future__ import annotations

from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.model.asking import Nothing
from gantry.model.errors import OperationFailed
from gantry.model.replica_orders import DisksActivate, DisksDeactivate


async def activate(parts: Parts, order: DisksActivate, task: Task) -> Nothing:
    """Open them and begin to mirror."""
    raise OperationFailed(f"disks of {order.name} cannot be activated yet", node=parts.node)


async def deactivate(parts: Parts, order: DisksDeactivate, task: Task) -> Nothing:
    """End it, in order."""
    return Nothing()
