"""Orders and questions about replicas of mirrored disks."""

from __future__ import annotations

import msgspec

from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.model.asking import Nothing
from gantry.model.entities import DiskTemplate
from gantry.model.errors import Reason, Rejected
from gantry.model.orders import DiskSpec
from gantry.model.replica_orders import (
    MirrorAttach,
    MirrorRelease,
    ReadReplicas,
    ReplicaClose,
    ReplicaForgo,
    ReplicaMark,
    ReplicaPrepare,
    ReplicaPrepared,
    ReplicaServe,
    ReplicaServed,
    ReplicasLook,
    ReplicasSeen,
)


async def serve(parts: Parts, order: ReplicaServe, task: Task) -> ReplicaServed:
    """Serve a replica to another node."""
    _mirrored(order.disk)
    for driver in parts.hypervisors.values():
        for guest in driver.guests():
            if guest.up and any(one.disk == order.disk.uuid for one in guest.mirrors):
                raise Rejected(
                    f"{guest.name}, which runs on {parts.node}, writes to that replica itself",
                    reason=Reason.STATE,
                    node=parts.node,
                )
    port = await parts.replicas.serve(order.disk, order.peer, order.host, overwrite=order.overwrite)
    parts.facts.disturbed()
    return ReplicaServed(port=port)


async def prepare(parts: Parts, order: ReplicaPrepare, task: Task) -> ReplicaPrepared:
    """Be ready to serve a replica to another node."""
    served = await parts.replicas.prepare(_mirrored(order.disk), order.peer, order.host)
    return ReplicaPrepared(port=served.port, content=served.content)


async def forgo(parts: Parts, order: ReplicaForgo, task: Task) -> Nothing:
    """That was not to be."""
    await parts.replicas.forgo(_mirrored(order.disk))
    return Nothing()


async def close(parts: Parts, order: ReplicaClose, task: Task) -> Nothing:
    """Serve it no longer."""
    await parts.replicas.end(_mirrored(order.disk))
    return Nothing()


async def mark(parts: Parts, order: ReplicaMark, task: Task) -> Nothing:
    """Change what its record says."""
    disk = _mirrored(order.disk)
    await parts.replicas.storage.mark(disk, order.generation, order.state, force=order.force)
    return Nothing()


async def attach(parts: Parts, order: MirrorAttach, task: Task) -> Nothing:
    """Mirror a disk to one more node."""
    driver = parts.hypervisor(order.hypervisor)
    await driver.attach_mirror(order.guest, order.index, order.target)
    return Nothing()


async def release(parts: Parts, order: MirrorRelease, task: Task) -> Nothing:
    """Mirror to that node no longer."""
    await parts.active.release(order.guest, order.index, order.node)
    driver = parts.hypervisor(order.hypervisor)
    await driver.release_mirror(order.guest, order.index, order.node, forget=order.forget)
    return Nothing()


async def read(parts: Parts, question: ReadReplicas) -> ReplicasSeen:
    """What is here of those disks."""
    return await _seen(parts, question.disks)


async def look(parts: Parts, order: ReplicasLook, task: Task) -> ReplicasSeen:
    """The same, in order with what the job has ordered before."""
    return await _seen(parts, order.disks)


async def _seen(parts: Parts, disks: tuple[DiskSpec, ...]) -> ReplicasSeen:
    found = []
    for disk in disks:
        seen = await parts.replicas.storage.seen(_mirrored(disk))
        served = parts.replicas.served(disk.uuid)
        if served is not None:
            seen = msgspec.structs.replace(seen, serving=served.peer.node)
        found.append(seen)
    return ReplicasSeen(replicas=tuple(found))


def _mirrored(disk: DiskSpec) -> DiskSpec:
    if disk.template is not DiskTemplate.MIRROR:
        raise Rejected(f"disk {disk.index} is of template {disk.template}, which has no replicas")
    return disk
