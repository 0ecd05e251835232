"""Disks that come to a running guest's bus, and that it lets go of.

A disk has the names and the place that it would have had from the start, so that the next start
shows the guest the same. Every step may have been done already, by an agent that is no more.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Final

import msgspec

from gantry.hypervisors.kvm import devices
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.hypervisors.kvm.running import Running
from gantry.model import parameters, timeouts
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.orders import DiskSpec, GuestSpec

_log = logging.getLogger(__name__)
_PLUGGABLE: Final = ("paravirtual", "scsi-hd")


async def plug(running: Running, disk: DiskSpec, root: str) -> None:
    """The guest has it; Rejected where its devices cannot come and go."""
    spec = running.record.spec
    if any(one.uuid == disk.uuid for one in spec.disks):
        return
    values = parameters.fill(parameters.KVM, spec.hvparams)
    if values["disk_type"] not in _PLUGGABLE:
        raise Rejected(
            f"disks of type {values['disk_type']} cannot come to a guest that runs",
            "stop it first, or use disk_type=paravirtual",
            reason=Reason.STATE,
            object_name=spec.name,
        )
    if values["disk_type"] == "scsi-hd" and not spec.disks:
        raise Rejected(
            f"{spec.name} has no controller for SCSI disks", "stop it first", reason=Reason.STATE
        )
    parts = devices.disk_parts(spec.name, disk, values, root, devices.Buses(spec.machine))
    monitor = await running.monitor(timeouts.QMP)
    await _away(monitor, disk.index)
    try:
        await monitor.execute("blockdev-add", timeouts.URGENT, **parts.file)
        await monitor.execute("blockdev-add", timeouts.URGENT, **parts.image)
        await monitor.execute("device_add", timeouts.URGENT, **parts.device)
    except BaseException:
        await _away(monitor, disk.index)
        raise
    await running.respecify(_with(spec, (*spec.disks, disk)))


async def restore(running: Running, device: str, root: str) -> None:
    """A guest let go of a disk by itself, or after its time: it has it again.

    Whoever had asked for it has given up, and its record says that it has it.
    """
    spec = running.record.spec
    values = parameters.fill(parameters.KVM, spec.hvparams)
    for disk in spec.disks:
        if device == f"drive{disk.index}" and values["disk_type"] in _PLUGGABLE:
            _log.warning("%s has let go of disk %d: it gets it again", spec.name, disk.index)
            parts = devices.disk_parts(spec.name, disk, values, root, devices.Buses(spec.machine))
            monitor = await running.monitor(timeouts.QMP)
            await monitor.execute("device_add", timeouts.URGENT, **parts.device)


async def unplug(running: Running, disk: DiskSpec, timeout: float) -> None:
    """The guest has it no more; OperationFailed where it keeps it."""
    spec = running.record.spec
    if all(one.uuid != disk.uuid for one in spec.disks):
        return
    monitor = await running.monitor(timeouts.QMP)
    device = f"drive{disk.index}"
    async with running.partings.of(device) as gone:
        if await _there(monitor, device):
            with contextlib.suppress(OperationFailed):  # it was asked already
                await monitor.execute("device_del", timeouts.URGENT, id=device)
            if not await gone(timeout) and await _there(monitor, device):
                raise OperationFailed(
                    f"{spec.name} does not let go of disk {disk.index} within {timeout:g} s",
                    "unmount it there; a guest without an operating system never does: stop it",
                    object_name=spec.name,
                )
    await _away(monitor, disk.index)
    await running.respecify(_with(spec, tuple(one for one in spec.disks if one.uuid != disk.uuid)))


def _with(spec: GuestSpec, disks: tuple[DiskSpec, ...]) -> GuestSpec:
    return msgspec.structs.replace(spec, disks=tuple(sorted(disks, key=lambda one: one.index)))


async def _there(monitor: Monitor, device: str) -> bool:
    found = await monitor.execute("qom-list", path="/machine/peripheral")
    return any(one["name"] == device for one in found)


async def _away(monitor: Monitor, index: int) -> None:
    """Nobody has the image and the file open in that place any more."""
    nodes = await monitor.execute("query-named-block-nodes", flat=True)
    named = {str(one["node-name"]) for one in nodes}
    for name in (f"disk{index}", f"file{index}"):
        if name in named:
            await monitor.execute("blockdev-del", timeouts.URGENT, **{"node-name": name})
