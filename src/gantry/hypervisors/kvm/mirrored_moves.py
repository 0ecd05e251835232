"""Mirrored disks of a guest that goes to the node of one of their replicas, as it runs.

The source ends its mirrors while the guest stands still for its last pages: all replicas are the
same then. A ``barrier`` is there before that, as QEMU lets the guest run again by itself where it
cannot send the rest. Nobody has the target's open by the time the guest is resumed there, and it
mirrors back before its first instruction. Where the guest goes on on the source after all, it
mirrors again before that; for a replica that cannot be had it stands still until that is released.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from gantry.hypervisors.kvm import barrier, block_jobs, held, mirrored, sockets
from gantry.hypervisors.kvm.mirrored import Means
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.hypervisors.kvm.running import Running
from gantry.model import timeouts
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.live import MirrorPhase
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec

_SOCKET: Final = "activation"
_MOMENT: Final = 0.02
_MOMENTS: Final = 500


def jobs(running: Running) -> frozenset[str]:
    """The names of all jobs that may be there for its mirrors."""
    spec = running.record.spec
    return frozenset(
        name
        for disk in spec.disks
        for target in disk.targets
        for name in block_jobs.names(disk.index, target.node)
    )


async def leave(running: Running, node: Uuid) -> None:
    """End its mirrors; the guest stands still. OperationFailed where ``node`` has not all of it.

    What is recorded of its targets are those that have.
    """
    assert running.mirrors is not None
    there = await block_jobs.jobs(await running.monitor(timeouts.QMP))
    ready = {
        (one.disk, one.node) for one in running.mirrors.live() if one.phase is MirrorPhase.READY
    }
    kept: dict[int, tuple[Uuid, ...]] = {}
    for disk in running.record.spec.disks:
        kept[disk.index] = tuple(
            target.node
            for target in disk.targets
            if (disk.uuid, target.node) in ready
            and block_jobs.job_name(disk.index, target.node) in there
        )
        if node not in kept[disk.index]:
            raise OperationFailed(
                f"disk {disk.index} of {running.record.spec.name} is not in sync any more where "
                "the guest is to go",
                "gnt-instance info shows its replicas; try again when they are in sync",
                object_name=running.record.spec.name,
            )
    disks = tuple(
        msgspec.structs.replace(
            disk, targets=tuple(one for one in disk.targets if one.node in kept[disk.index])
        )
        for disk in running.record.spec.disks
    )
    gone = [(one.disk, one.node) for one in running.mirrors.live()]
    await running.respecify(msgspec.structs.replace(running.record.spec, disks=disks))
    monitor = await running.monitor(timeouts.QMP)
    for disk in disks:
        await barrier.bar(monitor, disk.index)
    for disk in disks:
        for uuid, other in gone:
            if uuid == disk.uuid:
                await running.mirrors.release(disk.index, other)


async def come_back(running: Running) -> bool:
    """Mirror again as it was before ``leave``, and run; False: nothing had been ended.

    Where a replica cannot be had, the guest is held still until that is released.
    """
    mirrors, disks = running.mirrors, running.record.spec.disks
    monitor = await running.monitor(timeouts.QMP)
    if mirrors is None or not any([await barrier.there(monitor, one.index) for one in disks]):
        return False
    await held.hold(running)
    if await _settled(monitor) == "running":
        await monitor.execute("stop", timeouts.URGENT)
    await _activate(running, disks)
    for disk in disks:  # a mirror wants nothing but a device above it
        await barrier.lower(monitor, disk.index)
    for disk in disks:
        for target in disk.targets:
            await mirrors.again(disk, target)
    await held.go_on(running)
    if running.record.held and not mirrors.awaited:
        raise OperationFailed("QEMU does not let it run")
    return True


async def _settled(monitor: Monitor) -> str:
    """QEMU's state, once it has done with a migration that failed: it may let the guest run."""
    for _ in range(_MOMENTS):
        status = str((await monitor.execute("query-status"))["status"])
        if status != "finish-migrate":
            return status
        await asyncio.sleep(_MOMENT)
    raise OperationFailed("QEMU does not come to an end with the migration")


async def arrive(running: Running, means: Means | None, disks: Sequence[DiskSpec]) -> None:
    """The received guest has these disks, with their targets, and mirrors them; it does not run.

    Nobody else has its replicas here open any more.
    """
    spec = running.record.spec
    if means is None:
        raise Rejected(f"{spec.name} cannot run here: no mirrored disks here")
    opened = mirrored.Opened(undo=mirrored.nothing)
    if tuple(disks) != spec.disks:  # else an earlier agent has opened them
        spec = msgspec.structs.replace(spec, disks=tuple(disks))
        opened = await mirrored.open_replicas(spec, means)
    try:
        await running.respecify(spec)
        await _activate(running, disks)
        await mirrored.begin(running, means, frozenset())
    except BaseException:
        running.closed = running.leaving = None
        await opened.undo()
        raise


async def _activate(running: Running, disks: Sequence[DiskSpec]) -> None:
    """Make disks ready for writing that QEMU opened, or kept, for a guest on another node.

    It does so for one that it is to serve, and for no command of its own.
    """
    monitor = await running.monitor(timeouts.QMP)
    with sockets.listen(running.files.volatile, _SOCKET) as listener:
        await monitor.give(listener.fileno(), _SOCKET)
    address = {"type": "fd", "data": {"str": _SOCKET}}
    await monitor.execute("nbd-server-start", addr=address)
    try:
        for disk in disks:
            node = await barrier.top(monitor, disk.index)
            export: dict[str, Any] = {"id": f"activated{disk.index}", "node-name": node}
            export["type"] = "nbd"
            await monitor.execute("block-export-add", timeouts.URGENT, **export)
    finally:
        await monitor.execute("nbd-server-stop")
        (running.files.volatile / _SOCKET).unlink(missing_ok=True)
