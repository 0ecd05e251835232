"""Mirrored disks of a guest that goes to the node of one of their replicas, as it runs.

The source ends its mirrors while the guest stands still for its last pages: all replicas are the
same then. A ``barrier`` is there before that, as QEMU lets the guest run again by itself where it
cannot send the rest. Nobody has the target's open by the time the guest is resumed there, and it
mirrors back before its first instruction. Where the guest goes on on the source after all, it
mirrors again before that; for a replica that cannot be had it stands still until that is released.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from gantry.hypervisors.contract import Freed, Whole
from gantry.hypervisors.kvm import awaited, barrier, block_jobs, held, layers, mirrored
from gantry.hypervisors.kvm.mirrored import Means
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.hypervisors.kvm.running import Running
from gantry.model import timeouts
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.live import MirrorPhase
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec

_SETTLES: Final = 10.0


def jobs(running: Running) -> frozenset[str]:
    """The names of all jobs that may be there for its mirrors."""
    spec = running.record.spec
    return frozenset(
        name
        for disk in spec.disks
        for target in disk.targets
        for name in block_jobs.names(disk.index, target.node)
    )


async def about_to_leave(running: Running) -> dict[int, str]:
    """Make ready, while the guest runs, what ``leave`` is to be given."""
    monitor = await running.monitor(timeouts.QMP)
    return await barrier.prepare(monitor, [disk.index for disk in running.record.spec.disks])


async def leave(running: Running, node: Uuid, prepared: Mapping[int, str]) -> None:
    """End its mirrors; the guest stands still. OperationFailed where ``node`` has not all of it.

    What is recorded of its targets are those that have; they are ``whole`` from now on. Their
    connections go with ``part``.
    """
    mirrors, spec = running.mirrors, running.record.spec
    assert mirrors is not None
    phases = {(one.disk, one.node): one.phase for one in mirrors.live()}
    disks = []
    for disk in spec.disks:
        ready = tuple(
            target
            for target in disk.targets
            if phases.get((disk.uuid, target.node)) is MirrorPhase.READY
        )
        lost = [
            target
            for target in disk.targets
            if phases.get((disk.uuid, target.node)) is MirrorPhase.LOST
        ]
        # What is lost and not released yet may be in sync for the store.
        if lost or all(one.node != node for one in ready):
            raise OperationFailed(
                f"disk {disk.index} of {spec.name} is not in sync any more "
                + (f"on {lost[0].name}" if lost else "where the guest is to go"),
                "gnt-instance info shows its replicas; try again when they are in sync",
                object_name=spec.name,
            )
        disks.append(msgspec.structs.replace(disk, targets=ready))
    if tuple(disks) != spec.disks:
        await running.respecify(msgspec.structs.replace(spec, disks=tuple(disks)))

    async def bar() -> None:
        monitor = await running.monitor(timeouts.QMP)
        await barrier.bar(monitor, [disk.index for disk in disks], prepared)

    await mirrors.leave(bar)


async def part(running: Running) -> None:
    """Nothing of it that reaches other nodes is left of the mirrors that ``leave`` has ended."""
    if running.mirrors is not None:
        await running.mirrors.part()


def whole(running: Running) -> Whole:
    """Of a guest that was sent: (disk, node) of the replicas that are the same as its disks."""
    return tuple(
        (disk.uuid, target.node) for disk in running.record.spec.disks for target in disk.targets
    )


async def come_back(running: Running) -> bool:
    """Mirror again as it was before ``leave``, and run; False: nothing had been ended.

    Where a replica cannot be had, the guest is held still until that is released.
    """
    mirrors, disks = running.mirrors, running.record.spec.disks
    monitor = await running.monitor(timeouts.QMP)
    if mirrors is None:
        return False
    if not any([await barrier.closed(monitor, one.index) for one in disks]):
        await barrier.forget(monitor, [one.index for one in disks])
        return False
    async with held.still(running):
        if await settled(monitor) == "running":
            await monitor.execute("stop", timeouts.URGENT)
        await _activate(running, disks, await layers.names(monitor))
        for disk in disks:  # a mirror wants nothing but a device above it
            await barrier.lower(monitor, disk.index)
        for disk in disks:
            for target in disk.targets:
                await mirrors.again(disk, target)
    if running.record.held and not mirrors.awaited:
        raise OperationFailed("QEMU does not let it run")
    return True


async def settled(monitor: Monitor) -> str:
    """QEMU's state, once it has done with a migration that failed: it may let the guest run."""
    status = ""

    async def has() -> bool:
        nonlocal status
        status = str((await monitor.execute("query-status"))["status"])
        return status != "finish-migrate"

    if not await monitor.until(has, _SETTLES):
        raise OperationFailed("QEMU does not come to an end with the migration")
    return status


async def arrive(
    running: Running, means: Means | None, disks: Sequence[DiskSpec], freed: Freed
) -> None:
    """The received guest has these disks, with their targets, and mirrors them; it goes on.

    Nobody else has its replicas here open once it is ``freed``. Before its first instruction its
    record says both that it may have run and that it is held: a next agent lets it go on only
    where nothing that must be mirrored is missing.
    """
    spec = running.record.spec
    if means is None:
        raise Rejected(f"{spec.name} cannot run here: no mirrored disks here")
    record = msgspec.structs.replace(
        running.record,
        spec=msgspec.structs.replace(spec, disks=tuple(disks)),
        incoming=None,
    )
    inherited = asyncio.create_task(_inherited(means, disks))

    async def ready(nodes: Collection[str]) -> None:
        await _activate(running, disks, nodes, freed)

    try:
        async with held.arriving(running, record):
            try:
                await mirrored.join(running, means, ready)
            finally:
                await asyncio.wait([inherited])
            inherited.result()
    except BaseException:
        running.closed = running.leaving = None
        if inherited.done() and not inherited.cancelled() and inherited.exception() is None:
            await inherited.result()()
        raise


async def _inherited(means: Means, disks: Sequence[DiskSpec]) -> Callable[[], Awaitable[None]]:
    return await means.replicas.inherit(disks)


async def _activate(
    running: Running, disks: Sequence[DiskSpec], nodes: Collection[str], freed: Freed = None
) -> None:
    """Make disks ready for writing that QEMU opened, or kept, for a guest on another node.

    It does so for one that it is to serve, and for no command of its own. ``nodes`` are the names
    of all nodes. Only once ``freed``.
    """
    monitor = await running.monitor(timeouts.QMP)
    if running.awaited is None:
        await awaited.give_socket(monitor, running.files)
    if freed is not None:
        await freed
    commands = _activation(nodes, disks)
    try:
        await monitor.execute_all(commands, timeouts.URGENT)
    except OperationFailed:  # an agent before may have been cut off in the middle of it
        with contextlib.suppress(OperationFailed):
            await monitor.execute("nbd-server-stop")
        await awaited.give_socket(monitor, running.files)
        await monitor.execute_all(commands, timeouts.URGENT)


def _activation(nodes: Collection[str], disks: Sequence[DiskSpec]) -> list[tuple[str, Any]]:
    exports = [
        {
            "id": f"activated{disk.index}",
            "node-name": barrier.top(nodes, disk.index),
            "type": "nbd",
        }
        for disk in disks
    ]
    return [
        ("nbd-server-start", {"addr": {"type": "fd", "data": {"str": awaited.SOCKET}}}),
        *(("block-export-add", export) for export in exports),
        ("nbd-server-stop", {}),
    ]
