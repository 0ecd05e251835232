"""Mirrored disks of which no node has a replica any more, made anew with all their replicas.

They are one generation on: what comes back all the same is not taken for them.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gantry.model import timeouts
from gantry.model.disk_orders import ReadDisks
from gantry.model.entities import Instance
from gantry.model.errors import Reason, Rejected
from gantry.model.orders import DiskCreate
from gantry.model.replicas import MirrorChange, ReplicaBecame
from gantry.model.snapshot import Claim, Snapshot
from gantry.operations.base import Examiner
from gantry.operations.steps import checks, disks, mirrors, specs
from gantry.operations.steps.mirrors import IN_SYNC, SYNCING, Copy, Mirroring
from gantry.operations.steps.tolerating import succeeds
from gantry.ports.steps import Changes, Steps


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """``after`` is the instance with the disks that are made; ``mirroring`` has only these."""

    after: Instance
    mirroring: Mirroring
    claims: tuple[Claim, ...]

    @property
    def begun(self) -> Changes:
        """What must stand before the first one is made, and does no harm: all of them are lost."""
        home = self.mirroring.peer.node
        states = [
            ReplicaBecame(disk=one.disk.uuid, node=node, state=IN_SYNC if node == home else SYNCING)
            for one in self.mirroring.disks
            for node in (home, *(copy.node for copy in one.copies))
        ]
        return Changes(put=(self.after,), mirrors=tuple(states))


async def make(steps: Steps, lost: Lost) -> tuple[MirrorChange, ...]:
    """Nothing of it is undone: what is made is empty, and fits what the store says by then.

    Gives back which replicas are the same as the primary's; the others are copied later.
    """
    first: Changes | None = lost.begun
    made: list[MirrorChange] = []
    for one in lost.mirroring.disks:
        index, order = one.disk.index, DiskCreate(disk=one.disk)
        steps.log(f"making disk {index} of {one.disk.size} MiB on {1 + len(one.copies)} nodes")
        node = lost.mirroring.peer.node
        await steps.do(f"create-disk/{index}", node, order, first=first, timeout=timeouts.SLOW)
        first = None
        for copy in one.copies:
            name = f"create-disk/{index}/{copy.name}"
            later = f"the replica on node {copy.name} is copied later"
            if await succeeds(steps, name, copy.node, order, later, timeout=timeouts.SLOW):
                made.append(ReplicaBecame(disk=one.disk.uuid, node=copy.node, state=IN_SYNC))
    return tuple(made)


def possible(cluster: Snapshot, before: Instance, what: str, nodes: Sequence[str]) -> None:
    """Nothing stands in the way of making mirrored disks anew, or Rejected."""
    whole = mirrors.required(cluster, before, what)
    if nodes:
        raise Rejected(
            f"cannot {what} on other nodes: mirrored disks are made where their replicas are",
            f"leave -n out; gnt-instance failover {before.name} brings it to one of these",
            reason=Reason.INPUT,
            object_name=before.name,
        )
    if whole.active:
        raise Rejected(
            f"cannot {what}: its disks are active",
            f"gnt-instance deactivate-disks {before.name}",
            reason=Reason.STATE,
            object_name=before.name,
        )


async def examined(
    cluster: Snapshot, after: Instance, indexes: Sequence[int], ask: Examiner
) -> Lost:
    """The primary has none of these disks; Rejected where another node has, or may have."""
    whole = mirrors.required(cluster, after, "make disks anew")
    for one in whole.disks:
        for copy in one.copies if one.disk.index in indexes else ():
            await _gone(after, one.disk.index, copy, ask)
    made = tuple(
        msgspec.structs.replace(disk, generation=disk.generation + 1) if at in indexes else disk
        for at, disk in enumerate(after.disks)
    )
    chosen = tuple(
        msgspec.structs.replace(one, disk=specs.disk(one.disk.index, made[one.disk.index]))
        for one in whole.disks
        if one.disk.index in indexes
    )
    claims = []
    for one in chosen:
        for copy in one.copies:
            checks.disk_fits(cluster, cluster.nodes[copy.node], one.disk.size, "the replica")
            claims.append(Claim(node=copy.node, disk=one.disk.size))
    return Lost(
        after=msgspec.structs.replace(after, disks=made),
        mirroring=msgspec.structs.replace(whole, disks=chosen),
        claims=tuple(claims),
    )


async def _gone(instance: Instance, index: int, copy: Copy, ask: Examiner) -> None:
    """The replica is not there, or Rejected with the way to what it has."""
    what = f"disk {index} of instance {instance.name} is not made anew"
    give_up = (
        f"gnt-instance remove-mirror -f -b {disks.drive(index)} -p {copy.number} {instance.name} "
        "gives it up"
    )
    if not copy.there:
        raise Rejected(
            f"{what}: node {copy.name}, which has a replica of it ({copy.state}), does not answer",
            f"bring it back, and fail over to it; or, where it is lost for ever: {give_up}",
            reason=Reason.STATE,
            node=copy.name,
            object_name=instance.name,
        )
    wanted = specs.disk(index, instance.disks[index])
    said = await ask.ask(copy.node, ReadDisks(disks=(wanted,)), timeouts.URGENT)
    if said.disks[0].size is None:
        return
    ignoring = "" if copy.state is IN_SYNC else "--ignore-consistency "
    raise Rejected(
        f"{what}: node {copy.name} still has a replica of it ({copy.state})",
        f"gnt-instance failover {ignoring}-n {copy.name} {instance.name} takes that one; "
        f"or: {give_up}",
        reason=Reason.EXISTS,
        node=copy.name,
        object_name=instance.name,
    )
