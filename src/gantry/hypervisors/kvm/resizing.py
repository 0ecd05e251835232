"""Making a running guest's disk larger; never smaller."""

from __future__ import annotations

from typing import Final

import msgspec

from gantry.hypervisors.kvm.running import Running
from gantry.model import timeouts

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
    if int(images[0]["virtual-size"]) < size * _MIB:
        arguments = {"node-name": name, "size": size * _MIB}
        await monitor.execute("block_resize", timeouts.URGENT, **arguments)
    spec = running.record.spec
    disks = tuple(
        msgspec.structs.replace(one, size=max(one.size, size)) if one.index == index else one
        for one in spec.disks
    )
    await running.respecify(msgspec.structs.replace(spec, disks=disks))
    return True
