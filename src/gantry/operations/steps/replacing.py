"""Which replicas are replaced, and by what. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gantry.model.entities import Instance, Node
from gantry.model.errors import Reason, Rejected
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.operations.steps import mirrors, placing
from gantry.operations.steps.mirrors import IN_SYNC, STALE, SYNCING, Copy, MirroredDisk, Mirroring


class Swap(msgspec.Struct, frozen=True, kw_only=True):
    """The replica ``old`` of a disk goes, and ``new`` comes; None: another file in its place."""

    disk: MirroredDisk
    old: Copy
    new: Copy | None = None


def chosen(cluster: Snapshot, instance: Instance, wanted: str | None, what: str) -> Node:
    """The secondary node that is meant; where several are, the one that is not as it should be."""
    nodes = [cluster.nodes[uuid] for uuid in instance.secondary_nodes if uuid in cluster.nodes]
    if wanted is not None:
        node = cluster.node(wanted)
        if node not in nodes:
            raise Rejected(
                f"node {node.name} is no secondary node of instance {instance.name}",
                f"it has {', '.join(one.name for one in nodes) or 'none'}",
                reason=Reason.STATE,
                node=node.name,
                object_name=instance.name,
            )
        return node
    bad = [node for node in nodes if needs_it(cluster, instance, node.uuid)]
    found = bad if len(bad) == 1 else nodes
    if len(found) != 1:
        raise Rejected(
            f"instance {instance.name} has {len(found)} secondary nodes: {what} which one?"
            if found
            else f"instance {instance.name} has no replicas but the primary's",
            "name it with --old-secondary NODE"
            if found
            else f"gnt-instance add-mirror makes some of {instance.name}",
            reason=Reason.STATE,
            object_name=instance.name,
        )
    return found[0]


def needs_it(cluster: Snapshot, instance: Instance, node: Uuid) -> bool:
    """Whether a replica there is stale, or its node is away."""
    whole = mirrors.of(cluster, instance)
    return any(
        copy.node == node and (copy.state is STALE or not copy.there)
        for one in (whole.disks if whole is not None else ())
        for copy in one.copies
    )


def in_place(whole: Mirroring, node: Node, disks: Sequence[int], instance: str) -> tuple[Swap, ...]:
    """Other files on the same node, for these disks (all where none is named)."""
    found = [
        Swap(disk=one, old=copy)
        for one in whole.disks
        for copy in one.copies
        if copy.node == node.uuid and (not disks or one.disk.index in disks)
    ]
    for swap in found:
        if not swap.old.there:
            raise Rejected(
                f"cannot replace the replica on node {node.name}: the node is away",
                f"another one can take its place: gnt-instance replace-disks -n NODE {instance}",
                reason=Reason.ENVIRONMENT,
                node=node.name,
                object_name=instance,
            )
    return tuple(found)


def elsewhere(
    cluster: Snapshot, instance: Instance, whole: Mirroring, old: Node, new: Node
) -> tuple[Swap, ...]:
    """The replicas of all disks on ``old`` go to ``new``; Rejected where that has some."""
    swaps: list[Swap] = []
    for one in whole.disks:
        if new.uuid in (whole.peer.node, *(copy.node for copy in one.copies)):
            raise Rejected(
                f"node {new.name} already has a replica of disk {one.disk.index} of "
                f"{instance.name}",
                "each replica is on a node of its own: name another node; -s makes one anew where "
                "it is",
                reason=Reason.EXISTS,
                node=new.name,
                object_name=instance.name,
            )
        record = cluster.mirrors[one.disk.uuid]
        fresh = Copy(
            node=new.uuid,
            name=new.name,
            host=new.secondary_ip,
            number=record.next_number,
            state=SYNCING,
            there=True,
        )
        swaps += [
            Swap(disk=one, old=copy, new=fresh) for copy in one.copies if copy.node == old.uuid
        ]
    size = sum(swap.disk.disk.size for swap in swaps)
    placing.takes(cluster, new, size, f"keep replicas of {instance.name}")
    return tuple(swaps)


def may_go_before(swap: Swap) -> bool:
    """Whether the old one is of no use, so that nothing is lost while the new one is made."""
    return swap.old.state is not IN_SYNC or not swap.old.there
