"""Disks that come to the guest while it runs, and that it lets go of."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gantry.model.disk_orders import DiskPlug, DiskUnplug
from gantry.model.entities import Instance
from gantry.model.orders import DiskSpec
from gantry.operations.steps import mirroring
from gantry.operations.steps.mirrors import MirroredDisk, Mirroring
from gantry.ports.steps import Steps, Undo


async def unplug(
    steps: Steps, instance: Instance, gone: Sequence[DiskSpec], *, keep: bool
) -> tuple[Undo, ...]:
    """The guest lets go of what is taken away, the last one first.

    ``keep``: its hypervisor has the disks, and mirrors them, until the commit stands. Gives back
    what is to be done then.
    """
    for disk in reversed(gone):
        steps.log(f"asking the guest to let go of disk {disk.index}")
        await steps.do(
            f"unplug-disk/{disk.index}",
            instance.primary_node,
            _unplug(instance, disk, keep=keep),
            undo=_plug(instance, disk),
        )
    ends = (Undo(instance.primary_node, _unplug(instance, disk)) for disk in reversed(gone))
    return tuple(ends) if keep else ()


async def plug(
    steps: Steps, instance: Instance, made: Sequence[DiskSpec], replicas: Mirroring | None
) -> None:
    """The guest gets them; all that it writes to mirrored ones is on their replicas."""
    copies = {one.disk.index: one for one in (replicas.disks if replicas is not None else ())}
    for disk in made:
        if replicas is not None:
            disk = await _served(steps, replicas, copies[disk.index])
        await steps.do(
            f"plug-disk/{disk.index}",
            instance.primary_node,
            _plug(instance, disk),
            undo=_unplug(instance, disk),
        )


async def _served(steps: Steps, replicas: Mirroring, one: MirroredDisk) -> DiskSpec:
    """All are as empty as the primary's."""
    targets = [
        await mirroring.serve_new(steps, replicas, one, copy, full=False) for copy in one.copies
    ]
    return msgspec.structs.replace(one.disk, targets=tuple(targets))


def _plug(instance: Instance, disk: DiskSpec) -> DiskPlug:
    return DiskPlug(disk=disk, guest=instance.uuid, hypervisor=instance.hypervisor)


def _unplug(instance: Instance, disk: DiskSpec, *, keep: bool = False) -> DiskUnplug:
    return DiskUnplug(disk=disk, guest=instance.uuid, hypervisor=instance.hypervisor, keep=keep)
