"""A running guest's file becomes a mirrored disk, or a mirrored disk a file, where it is.

The guest's device stays what it is: one that was made for a file sees an error where a write
fails, so that nothing may fail beside it which is none of the disk's business (see ``attaching``
and ``mirrored_moves``). Every step may have been done already, by an agent that is no more.
"""

from __future__ import annotations

import msgspec

from gantry.hypervisors.kvm import devices, layers, mirrored, resync
from gantry.hypervisors.kvm.mirrored import Means
from gantry.hypervisors.kvm.running import Running
from gantry.model import parameters, timeouts
from gantry.model.entities import DiskTemplate
from gantry.model.errors import Reason, Rejected
from gantry.model.orders import DiskSpec


async def convert(running: Running, disk: DiskSpec, means: Means | None, root: str) -> None:
    """It is of the template that ``disk`` has; see the contract."""
    now = next((one for one in running.record.spec.disks if one.uuid == disk.uuid), None)
    if now is None or means is None:
        raise Rejected(
            f"{running.record.spec.name} has no such disk"
            if means is not None
            else f"{running.record.spec.name}: no mirrored disks here",
            reason=Reason.STATE,
            object_name=running.record.spec.name,
        )
    if disk.template is DiskTemplate.MIRROR:
        await _discards(running, disk, root)
        await _recorded(running, disk)
        if running.mirrors is None:
            mirrored.look_after(running, means)
    else:
        await _plain(running, disk, root)


async def _plain(running: Running, disk: DiskSpec, root: str) -> None:
    """Nothing is mirrored of it, and nothing counted for that."""
    monitor = await running.monitor(timeouts.QMP)
    await mirrored.end_all(running, monitor, disk.index)
    await layers.bare(monitor, disk.index)
    await resync.count_no_more(monitor, disk.index)
    await _recorded(running, disk)
    await _discards(running, disk, root)
    if not mirrored.any_of(running.record.spec) and running.mirrors is not None:
        running.mirrors.close()
        running.mirrors = running.closed = running.leaving = None
        running.mirrors_changed()


async def _recorded(running: Running, disk: DiskSpec) -> None:
    spec = running.record.spec
    disks = tuple(
        msgspec.structs.replace(disk, targets=one.targets if one.template is disk.template else ())
        if one.uuid == disk.uuid
        else one
        for one in spec.disks
    )
    if disks != spec.disks:
        await running.respecify(msgspec.structs.replace(spec, disks=disks))


async def _discards(running: Running, disk: DiskSpec, root: str) -> None:
    """What the guest discards is ignored of a mirrored disk, and of a file as it is set."""
    values = parameters.fill(parameters.KVM, running.record.spec.hvparams)
    discard = str(values["disk_discard"])
    if discard == "ignore":
        return
    monitor = await running.monitor(timeouts.QMP)
    nodes = list(devices.nodes(disk, values, root, discard))
    await monitor.execute("blockdev-reopen", timeouts.URGENT, options=nodes)
