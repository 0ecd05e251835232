"""Making a running guest's disk larger; never smaller."""

from __future__ import annotations

from typing import Final

import msgspec

from gantry.hypervisors.kvm.running import Running
from gantry.model import timeouts
from gantry.model.errors import OperationFailed

_MIB: Final = 1024 * 1024


async def resize(running: Running, index: int, size: int) -> None:
    """The disk has ``size`` MiB, by QEMU's own words; its record says so too."""
    monitor = await running.monitor(timeouts.QMP)
    name = f"disk{index}"
    nodes = await monitor.execute("query-named-block-nodes", flat=True)
    images = [one["image"] for one in nodes if one.get("node-name") == name]
    if not images:
        raise OperationFailed(
            f"the guest has had no disk {index} since it was started",
            "start it again, then it has",
            object_name=running.record.spec.name,
        )
    if int(images[0]["virtual-size"]) < size * _MIB:
        arguments = {"node-name": name, "size": size * _MIB}
        await monitor.execute("block_resize", timeouts.URGENT, **arguments)
    spec = running.record.spec
    disks = tuple(
        msgspec.structs.replace(one, size=max(one.size, size)) if one.index == index else one
        for one in spec.disks
    )
    await running.respecify(msgspec.structs.replace(spec, disks=disks))
