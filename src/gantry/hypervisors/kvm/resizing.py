"""Making a running guest's disk larger; never smaller."""

from __future__ import annotations

from typing import Final

import msgspec

from gantry.hypervisors.kvm import held, layers
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.hypervisors.kvm.running import Running
from gantry.model import timeouts
from gantry.model.errors import OperationFailed, Reason

_MIRRORS: Final = "mirror"
"""What the names of jobs begin with that mirror a disk; see ``block_jobs.job_name``."""
_MIB: Final = 1024 * 1024


async def resize(running: Running, index: int, size: int) -> bool:
    """The disk has ``size`` MiB, by QEMU's own words; its record says so too.

    False where the guest does not have it.
    """
    monitor = await running.monitor(timeouts.QMP)
    name = f"disk{index}"
    nodes = await monitor.execute("query-named-block-nodes", flat=True)
    images = [one["image"] for one in nodes if one.get("node-name") == name]
    if not images:  # it was added for the next start
        return False

    async def enlarge() -> None:
        there = await layers.found(monitor, index)
        arguments = {"node-name": there.node(there.top), "size": size * _MIB}
        await monitor.execute("block_resize", timeouts.URGENT, **arguments)

    if int(images[0]["virtual-size"]) < size * _MIB:
        await _unhindered(running, monitor, index)
        if running.mirrors is None:
            await enlarge()
        else:
            await held.without_mirrors(running, running.mirrors, index, enlarge)
    spec = running.record.spec
    disks = tuple(
        msgspec.structs.replace(one, size=max(one.size, size)) if one.index == index else one
        for one in spec.disks
    )
    await running.respecify(msgspec.structs.replace(spec, disks=disks))
    return True


async def _unhindered(running: Running, monitor: Monitor, index: int) -> None:
    """No job works on the disk but its mirrors; OperationFailed where one does."""
    for job in await monitor.execute("query-jobs"):
        mirrors = str(job["id"]).startswith(_MIRRORS)
        if not mirrors and job["status"] != "concluded":
            raise OperationFailed(
                f"disk {index} of {running.record.spec.name} cannot be resized: the job "
                f"{job['id']} ({job['type']}) works on its disks",
                "an export or a copy to a replica: try again when it is done",
                reason=Reason.STATE,
                object_name=running.record.spec.name,
            )
