"""What operations do with replicas in ``run``: serve them, mirror to them, close them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gantry.model import timeouts
from gantry.model.entities import Instance
from gantry.model.errors import Cancelled, GantryError
from gantry.model.names import Uuid
from gantry.model.orders import DiskCreate, DiskRemove, GuestSpec, GuestStart, Order
from gantry.model.replica_orders import (
    DisksDeactivate,
    MirrorAttach,
    MirrorRelease,
    MirrorWait,
    ReplicaClose,
    ReplicaMark,
    ReplicaServe,
    ReplicasLook,
)
from gantry.model.replicas import MirrorChange, ReplicaBecame
from gantry.model.specs import DiskSpec, MirrorTarget
from gantry.operations.steps.mirrors import (
    IN_SYNC,
    STALE,
    SYNCING,
    Copy,
    MirroredDisk,
    Mirroring,
    usable,
)
from gantry.operations.steps.tolerating import succeeds
from gantry.ports.steps import Changes, Effect, Steps, Undo


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """The disks with where else their writes go; ``first`` must be durable before the guest."""

    disks: tuple[DiskSpec, ...]
    first: Changes

    def guest(self, spec: GuestSpec) -> GuestSpec:
        """The guest that mirrors its disks."""
        return msgspec.structs.replace(spec, disks=self.disks)


async def serve_all(
    steps: Steps, mirroring: Mirroring, known: Sequence[MirrorChange] = ()
) -> Served:
    """Have the other nodes serve what is in sync, and what is to be copied anew.

    A replica that cannot be had is stale before the guest writes anything. ``known`` is what the
    store is to know besides.
    """
    changes: list[MirrorChange] = [*known, *mirroring.marks]
    disks: list[DiskSpec] = []
    if not mirroring.clean:
        steps.warn("the disks were not closed in order: their other replicas are copied anew")
    for one in mirroring.disks:
        targets: list[MirrorTarget] = []
        for copy in one.copies:
            if copy.state is STALE:
                continue
            full = copy.state is SYNCING or not mirroring.clean
            target = await serve(steps, mirroring, one, copy, full=full, first=changes)
            if target is not None:
                targets.append(target)
                continue
            changes.append(ReplicaBecame(disk=one.disk.uuid, node=copy.node, state=STALE))
        disks.append(msgspec.structs.replace(one.disk, targets=tuple(targets)))
    return Served(disks=tuple(disks), first=Changes(mirrors=tuple(changes)))


async def serve(
    steps: Steps,
    mirroring: Mirroring,
    one: MirroredDisk,
    copy: Copy,
    *,
    full: bool,
    first: Sequence[MirrorChange] = (),
) -> MirrorTarget | None:
    """Have one replica served; None, with a warning, where that cannot be."""
    what = f"the replica of disk {one.disk.index} on node {copy.name}"
    if not copy.there:
        steps.warn(f"{what} is left behind: its node does not answer, or is marked offline")
        return None
    try:
        return await _serve(steps, mirroring, one, copy, full=full, first=first)
    except Cancelled:
        raise
    except GantryError as error:
        steps.warn(f"{what} is left behind: {error.message}")
        return None


async def serve_new(
    steps: Steps, mirroring: Mirroring, one: MirroredDisk, copy: Copy, *, full: bool = True
) -> MirrorTarget:
    """Have a replica served that all of the disk is copied to; raises what its node says.

    Without ``full`` it is the same already.
    """
    return await _serve(steps, mirroring, one, copy, full=full)


async def _serve(
    steps: Steps,
    mirroring: Mirroring,
    one: MirroredDisk,
    copy: Copy,
    *,
    full: bool,
    first: Sequence[MirrorChange] = (),
) -> MirrorTarget:
    order = ReplicaServe(disk=one.disk, peer=mirroring.peer, host=copy.host, overwrite=full)
    served = await steps.do(
        f"serve-replica/{one.disk.index}/{copy.name}",
        copy.node,
        order,
        undo=ReplicaClose(disk=one.disk),
        first=Changes(mirrors=tuple(first)),
        timeout=timeouts.URGENT,
    )
    return MirrorTarget(node=copy.node, name=copy.name, host=copy.host, port=served.port, full=full)


async def mirror_anew(
    steps: Steps,
    instance: Instance,
    mirroring: Mirroring,
    one: MirroredDisk,
    copy: Copy,
    *,
    closed: bool = False,
) -> tuple[MirrorChange, ...]:
    """Mirror a disk of a guest that is up to one more replica, and copy all of it there.

    It is syncing before its node is told. ``closed``: it is served to nobody. Gives back what
    becomes of it where that failed.
    """
    disk, node = one.disk.uuid, copy.node
    syncing = ReplicaBecame(disk=disk, node=node, state=SYNCING)
    failed = (ReplicaBecame(disk=disk, node=node, state=STALE),)
    if copy.there and not closed:
        await close(steps, one, copy)  # it may be served to an earlier primary
    target = await serve(steps, mirroring, one, copy, full=True, first=(syncing,))
    if target is None:
        return failed
    try:
        await attach(steps, instance, one, target)
    except Cancelled:
        raise
    except GantryError as error:
        steps.warn(f"disk {one.disk.index} is not mirrored to node {copy.name}: {error.message}")
        return failed
    return ()


async def attach(
    steps: Steps,
    instance: Instance,
    one: MirroredDisk,
    target: MirrorTarget,
    *,
    further: bool = False,
) -> None:
    """Have the running guest's disk mirrored to what is served there.

    ``further``: it is a replica that there was not before.
    """
    guest, hypervisor, index = instance.uuid, instance.hypervisor, one.disk.index
    release = MirrorRelease(
        guest=guest, hypervisor=hypervisor, index=index, node=target.node, forget=further
    )
    await steps.do(
        f"attach-mirror/{index}/{target.name}",
        instance.primary_node,
        MirrorAttach(guest=guest, hypervisor=hypervisor, index=index, target=target),
        undo=release,
        timeout=timeouts.URGENT,
    )


async def close_all(steps: Steps, mirroring: Mirroring | None) -> None:
    """Nothing is mirrored any more: the other nodes close their replicas, as far as they answer."""
    for one in mirroring.disks if mirroring is not None else ():
        for copy in one.copies:
            if copy.there:
                await close(steps, one, copy)


async def close(steps: Steps, one: MirroredDisk, copy: Copy) -> None:
    """Nobody writes to it any more; a warning where its node does not say so."""
    name = f"close-replica/{one.disk.index}/{copy.name}"
    otherwise = f"the replica on node {copy.name} was not closed"
    order = ReplicaClose(disk=one.disk)
    await succeeds(steps, name, copy.node, order, otherwise, timeout=timeouts.URGENT)


def closing(mirroring: Mirroring | None) -> tuple[Undo, ...]:
    """The same for after a commit, also on nodes that do not answer now."""
    return tuple(
        Undo(copy.node, ReplicaClose(disk=one.disk))
        for one in (mirroring.disks if mirroring is not None else ())
        for copy in one.copies
    )


async def _settled(steps: Steps, mirroring: Mirroring, instance: str) -> Mirroring:
    """What the store has made the primary's hears of it, and is looked at."""
    for one in mirroring.disks:
        old = mirroring.pending.get(one.disk.index)
        if old is not None:
            mark = ReplicaMark(disk=one.disk, generation=old, state=IN_SYNC)
            await steps.do(f"mark-replica/{one.disk.index}", mirroring.peer.node, mark)
    return await looked(steps, mirroring, instance)


async def deactivate(steps: Steps, guest: Uuid, node: Uuid) -> None:
    """No storage daemon writes to the disks any more; they are closed in order."""
    await steps.do("deactivate-disks", node, DisksDeactivate(guest=guest), timeout=timeouts.URGENT)


async def looked(steps: Steps, mirroring: Mirroring, instance: str) -> Mirroring:
    """With what the primary's replicas are now that the guest was stopped there."""
    disks = tuple(one.disk for one in mirroring.disks)
    node = mirroring.peer.node
    seen = await steps.do("look-at-replicas", node, ReplicasLook(disks=disks))
    usable(mirroring, mirroring.peer.name, instance, seen.replicas, f"start instance {instance}")
    return msgspec.structs.replace(mirroring, clean=all(one.clean for one in seen.replicas))


def removing(mirroring: Mirroring | None) -> tuple[Undo, ...]:
    """Remove all replicas but the primary's, once a commit has made them nobody's."""
    return tuple(
        Undo(copy.node, DiskRemove(disk=one.disk))
        for one in (mirroring.disks if mirroring is not None else ())
        for copy in one.copies
    )


async def start(
    steps: Steps,
    node: Uuid,
    order: GuestStart,
    mirroring: Mirroring | None,
    undo: Order[Any],
    *,
    new: bool = False,
    known: Sequence[MirrorChange] = (),
) -> tuple[MirrorChange, ...]:
    """Start a guest; one with mirrored disks never without what is in sync.

    Gives back what has become of the replicas. It is in the store before the guest runs, but for
    a ``new`` instance, whose records come with its last commit, together with these.
    """
    first: Changes | None = None
    if mirroring is not None and mirroring.active:
        await deactivate(steps, order.spec.uuid, node)
    if mirroring is not None and (mirroring.pending or mirroring.active):
        mirroring = await _settled(steps, mirroring, order.spec.name)
    if mirroring is not None:
        served = await serve_all(steps, mirroring, known)
        order = msgspec.structs.replace(order, spec=served.guest(order.spec))
        first = served.first
    await steps.do("start-guest", node, order, undo=undo, first=None if new else first)
    return first.mirrors if first is not None else ()


async def create_copies(steps: Steps, mirroring: Mirroring | None) -> None:
    """Make the replicas of all new disks but the primary's."""
    for one in mirroring.disks if mirroring is not None else ():
        effects = [
            Effect(
                name=f"create-disk/{one.disk.index}/{copy.name}",
                node=copy.node,
                order=DiskCreate(disk=one.disk),
                undo=Undo(copy.node, DiskRemove(disk=one.disk)),
            )
            for copy in one.copies
        ]
        await steps.all(effects, timeout=timeouts.SLOW)


async def make_copy(
    steps: Steps,
    mirroring: Mirroring,
    instance: Instance,
    one: MirroredDisk,
    copy: Copy,
    *,
    running: bool,
) -> None:
    """Make a further replica; of a guest that is ``running`` the disk is mirrored to it at once."""
    await steps.do(
        f"create-disk/{one.disk.index}/{copy.name}",
        copy.node,
        DiskCreate(disk=one.disk),
        undo=DiskRemove(disk=one.disk),
        timeout=timeouts.SLOW,
    )
    if running:
        target = await serve_new(steps, mirroring, one, copy)
        await attach(steps, instance, one, target, further=True)


async def copied(steps: Steps, instance: Instance, one: MirroredDisk, copy: Copy) -> MirrorChange:
    """Wait until all of a disk is there, and its node has written that down.

    Gives back what becomes of it, unless it was left behind in the meantime.
    """
    disk, index = one.disk, one.disk.index
    wait = MirrorWait(
        guest=instance.uuid, hypervisor=instance.hypervisor, disk=disk.uuid, node=copy.node
    )
    node = instance.primary_node
    await steps.do(f"wait-for-copy/{index}/{copy.name}", node, wait, timeout=timeouts.TRANSFER)
    mark = ReplicaMark(disk=disk, generation=disk.generation, state=IN_SYNC)
    await steps.do(f"mark-replica/{index}/{copy.name}", copy.node, mark, timeout=timeouts.URGENT)
    return ReplicaBecame(disk=disk.uuid, node=copy.node, state=IN_SYNC, only_from=SYNCING)


def leaving(instance: Instance, one: MirroredDisk, copy: Copy) -> tuple[Undo, ...]:
    """For after the commit that took a replica away: nothing is mirrored there, the file goes."""
    release = MirrorRelease(
        guest=instance.uuid,
        hypervisor=instance.hypervisor,
        index=one.disk.index,
        node=copy.node,
        forget=True,
    )
    return (
        Undo(instance.primary_node, release),
        Undo(copy.node, ReplicaClose(disk=one.disk)),
        Undo(copy.node, DiskRemove(disk=one.disk)),
    )
