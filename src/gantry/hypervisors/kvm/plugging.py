"""Disks that come to a running guest's bus, and that it lets go of.

A disk has the names and the place that it would have had from the start, so that the next start
shows the guest the same. It is recorded before the guest sees it, and is mirrored by then where
it has targets. Every step may have been done already, by an agent that is no more.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Final

import msgspec

from gantry.hypervisors.kvm import devices, layers, mirrored
from gantry.hypervisors.kvm.mirrored import Means
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.hypervisors.kvm.running import Running
from gantry.model import parameters, timeouts
from gantry.model.entities import DiskTemplate
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.orders import DiskSpec, GuestSpec

_log = logging.getLogger(__name__)
_PLUGGABLE: Final = ("paravirtual", "scsi-hd")


async def plug(running: Running, disk: DiskSpec, root: str, means: Means | None) -> None:
    """The guest has it; Rejected where its devices cannot come and go."""
    spec = running.record.spec
    monitor = await running.monitor(timeouts.QMP)
    if all(one.uuid != disk.uuid for one in spec.disks):
        _pluggable(running, disk, means)
        await _away(running, monitor, disk.index)
        try:
            await _open(running, monitor, disk, root, means)
            await running.respecify(_with(spec, (*spec.disks, disk)))
            await _give(monitor, spec, disk, root)
        except BaseException:
            if disk in running.record.spec.disks:
                await running.respecify(spec)
            await _away(running, monitor, disk.index)
            raise
    elif not await layers.plugged(monitor, disk.index):
        await _give(monitor, spec, disk, root)


def _pluggable(running: Running, disk: DiskSpec, means: Means | None) -> None:
    spec = running.record.spec
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
    why = ""
    if any(one.index == disk.index for one in spec.disks):
        why = f"has a disk {disk.index} already"
    elif disk.template is DiskTemplate.MIRROR and (running.mirrors is None or means is None):
        why = "has no mirrored disks"
    if why:
        raise Rejected(f"{spec.name} {why}", "stop it first", reason=Reason.STATE)


async def _open(
    running: Running, monitor: Monitor, disk: DiskSpec, root: str, means: Means | None
) -> None:
    """QEMU has it open, and mirrors it."""
    spec = running.record.spec
    parts = _parts(spec, disk, root)
    mirrors = running.mirrors if disk.template is DiskTemplate.MIRROR else None
    if mirrors is not None and means is not None:
        # Whoever opened it before has written nothing: no guest has ever had it.
        await means.replicas.closed((disk,))
        await means.replicas.open((disk,))
    await monitor.execute("blockdev-add", timeouts.URGENT, **parts.file)
    await monitor.execute("blockdev-add", timeouts.URGENT, **parts.image)
    if mirrors is not None:
        await mirrors.begin((disk,))


async def _give(monitor: Monitor, spec: GuestSpec, disk: DiskSpec, root: str) -> None:
    """The guest's device has it, by way of what mirrors it."""
    there = await layers.found(monitor, disk.index)
    device = {**_parts(spec, disk, root).device, "drive": there.node(there.top)}
    await monitor.execute("device_add", timeouts.URGENT, **device)


async def restore(running: Running, device: str, root: str) -> None:
    """A guest let go of a disk by itself, or after its time: it has it again.

    Whoever had asked for it has given up, and its record says that it has it.
    """
    spec = running.record.spec
    values = parameters.fill(parameters.KVM, spec.hvparams)
    for disk in spec.disks:
        if device == f"drive{disk.index}" and values["disk_type"] in _PLUGGABLE:
            _log.warning("%s has let go of disk %d: it gets it again", spec.name, disk.index)
            await _give(await running.monitor(timeouts.QMP), spec, disk, root)


async def unplug(running: Running, disk: DiskSpec, timeout: float, *, keep: bool) -> None:
    """The guest has it no more; OperationFailed where it keeps it.

    ``keep``: all else stays as it is.
    """
    spec = running.record.spec
    if all(one.uuid != disk.uuid for one in spec.disks):
        return
    monitor = await running.monitor(timeouts.QMP)
    if not keep:
        # Its writes are to wait for nobody any more, or the guest could not let go.
        await mirrored.end_all(running, monitor, disk.index)
    device = f"drive{disk.index}"
    async with running.partings.of(device) as gone:
        if await layers.plugged(monitor, disk.index):
            with contextlib.suppress(OperationFailed):  # it was asked already
                await monitor.execute("device_del", timeouts.URGENT, id=device)
            if not await gone(timeout) and await layers.plugged(monitor, disk.index):
                raise OperationFailed(
                    f"{spec.name} does not let go of disk {disk.index} within {timeout:g} s",
                    "unmount it there; a guest without an operating system never does: stop it",
                    object_name=spec.name,
                )
    if not keep:
        await _away(running, monitor, disk.index)
        left = tuple(one for one in spec.disks if one.uuid != disk.uuid)
        await running.respecify(_with(running.record.spec, left))


def _parts(spec: GuestSpec, disk: DiskSpec, root: str) -> devices.DiskParts:
    values = parameters.fill(parameters.KVM, spec.hvparams)
    return devices.disk_parts(spec.name, disk, values, root, devices.Buses(spec.machine))


def _with(spec: GuestSpec, disks: tuple[DiskSpec, ...]) -> GuestSpec:
    return msgspec.structs.replace(spec, disks=tuple(sorted(disks, key=lambda one: one.index)))


async def _away(running: Running, monitor: Monitor, index: int) -> None:
    """Nobody has the image and the file open in that place any more."""
    await mirrored.end_all(running, monitor, index)
    await layers.tidy(monitor, index)
    named = await layers.names(monitor)
    for name in (f"disk{index}", f"file{index}"):
        if name in named:
            await monitor.execute("blockdev-del", timeouts.URGENT, **{"node-name": name})
