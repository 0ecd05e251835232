"""Another replica of mirrored disks becomes the primary's (docs/adr/0015-mirror.md).

``plan`` is pure. ``promote`` closes the replicas on the new primary's node, makes the new
generation durable, and then has the replicas' own records follow.
"""

from __future__ import annotations

import msgspec

from gantry.model import timeouts
from gantry.model.entities import Instance, Node
from gantry.model.errors import Cancelled, GantryError, Reason, Rejected
from gantry.model.names import Uuid
from gantry.model.replica_orders import ReadReplicas, ReplicaClose, ReplicaMark, ReplicasLook
from gantry.model.replicas import MirrorChange, ReplicaBecame
from gantry.model.snapshot import Snapshot
from gantry.model.specs import DiskSpec
from gantry.operations.base import Examiner
from gantry.operations.steps import checks, mirroring, mirrors, moving
from gantry.operations.steps.mirrors import IN_SYNC, STALE, SYNCING, Copy, MirroredDisk, Mirroring
from gantry.operations.steps.tolerating import succeeds
from gantry.ports.steps import Changes, Steps


class Promotion(msgspec.Struct, frozen=True, kw_only=True):
    """``after`` is the instance on ``target``, each disk one generation on.

    ``before`` are the replicas as the old primary saw them, ``then`` as the new one does, the old
    primary's among them. ``lost`` says what may be missing where consistency is ignored.
    """

    source: Uuid
    target: Uuid
    after: Instance
    before: Mirroring
    then: Mirroring
    lost: str = ""


class Promoted(msgspec.Struct, frozen=True, kw_only=True):
    """The replicas as the guest is to be started with them; ``known`` must be in the store then."""

    mirroring: Mirroring
    known: tuple[MirrorChange, ...]


def plan(
    cluster: Snapshot,
    instance: Instance,
    target: Node,
    now: float,
    *,
    ignore_consistency: bool,
) -> Promotion:
    """What becomes of the instance's disks on ``target``; Rejected where its replicas are not
    in sync, unless that is to be ignored.
    """
    before = mirrors.of(cluster, instance)
    assert before is not None, "its disks are not mirrored"
    behind = _behind(before, target)
    if behind and not ignore_consistency:
        raise _refused(cluster, instance, target, behind)
    disks = tuple(
        msgspec.structs.replace(disk, generation=disk.generation + 1) for disk in instance.disks
    )
    others = tuple(
        instance.primary_node if node == target.uuid else node for node in instance.secondary_nodes
    )
    after = checks.changed(
        instance, now, primary_node=target.uuid, secondary_nodes=others, disks=disks
    )
    then = mirrors.of(cluster, after)
    assert then is not None
    then = _ended(then, cluster.nodes[instance.primary_node], cluster)
    return Promotion(
        source=instance.primary_node,
        target=target.uuid,
        after=after,
        before=before,
        then=then,
        lost="; ".join(behind),
    )


def _refused(cluster: Snapshot, instance: Instance, target: Node, behind: list[str]) -> Rejected:
    return Rejected(
        f"cannot bring instance {instance.name} to node {target.name}: {'; '.join(behind)}",
        _ways_out(cluster, instance, target),
        reason=Reason.STATE,
        node=target.name,
        object_name=instance.name,
    )


def _ended(then: Mirroring, source: Node, cluster: Snapshot) -> Mirroring:
    """The old primary, where the guest is stopped first, can be told to serve what it has."""
    reached = mirrors.there(cluster, source)
    disks = tuple(
        msgspec.structs.replace(
            one,
            copies=tuple(
                msgspec.structs.replace(copy, there=reached) if copy.node == source.uuid else copy
                for copy in one.copies
            ),
        )
        for one in then.disks
    )
    return msgspec.structs.replace(then, disks=disks)


def target(
    cluster: Snapshot,
    instance: Instance,
    wanted: str | None,
    *,
    memory: int,
    ignore_consistency: bool,
) -> Node:
    """The node that was named, or the one with replicas in sync that has the most free memory."""
    holding = _holding(cluster, instance)
    if wanted is not None:
        node = cluster.node(wanted)
        moving.elsewhere(instance, node)
        if node.uuid not in holding:
            having = ", ".join(cluster.nodes[uuid].name for uuid in holding) or "none"
            raise Rejected(
                f"node {node.name} has no replicas of all disks of {instance.name}",
                f"nodes that have: {having}; gnt-instance add-mirror makes further ones",
                reason=Reason.STATE,
                node=node.name,
                object_name=instance.name,
            )
    else:
        node = _best(cluster, instance, holding, memory, ignore_consistency)
    checks.node_usable(cluster, node, f"bring instance {instance.name} to it")
    if memory:
        checks.memory_fits(cluster, node, memory, f"instance {instance.name}")
    return node


def _holding(cluster: Snapshot, instance: Instance) -> list[Uuid]:
    """The other nodes that have a replica of every disk."""
    by_disk = mirrors.holders(cluster, instance)
    return [
        node
        for node in instance.secondary_nodes
        if node in cluster.nodes and all(node in nodes for nodes in by_disk)
    ]


def _best(
    cluster: Snapshot,
    instance: Instance,
    holding: list[Uuid],
    memory: int,
    ignore_consistency: bool,
) -> Node:
    there = [cluster.nodes[uuid] for uuid in holding if mirrors.there(cluster, cluster.nodes[uuid])]
    whole = mirrors.of(cluster, instance)
    assert whole is not None
    ready = [node for node in there if not _behind(whole, node)]
    fitting = [node for node in ready if (cluster.free_memory(node.uuid) or 0) >= memory]
    found = fitting or ready or (there if ignore_consistency else [])
    if found:
        return max(found, key=lambda node: (cluster.free_memory(node.uuid) or 0, node.name))
    states = "; ".join(
        f"disk {one.disk.index} on {copy.name} is {copy.state}"
        + ("" if copy.there else ", and the node does not answer")
        for one in whole.disks
        for copy in one.copies
    )
    raise Rejected(
        f"no other node that answers has replicas of {instance.name} that are in sync "
        f"({states or 'there are no others'})",
        f"bring its node {cluster.nodes[instance.primary_node].name} back; or, losing what was "
        "written since: gnt-instance failover --ignore-consistency -n NODE "
        f"{instance.name}",
        reason=Reason.STATE,
        object_name=instance.name,
    )


def _behind(whole: Mirroring, node: Node) -> list[str]:
    """In words, the disks whose replica on ``node`` is not in sync."""
    found: list[str] = []
    for one in whole.disks:
        state = next((copy.state for copy in one.copies if copy.node == node.uuid), None)
        if state is not IN_SYNC:
            said = f"is {state}" if state else "is not there"
            found.append(f"its replica of disk {one.disk.index} {said}")
    return found


def _ways_out(cluster: Snapshot, instance: Instance, target: Node) -> str:
    whole = mirrors.of(cluster, instance)
    assert whole is not None
    better = [
        cluster.nodes[uuid].name
        for uuid in _holding(cluster, instance)
        if not _behind(whole, cluster.nodes[uuid])
    ]
    if better:
        return f"in sync are those on {', '.join(better)}: name one of these with -n"
    return (
        f"while its node {cluster.nodes[instance.primary_node].name} runs it, it is mirrored anew "
        f"by itself (gnt-instance info {instance.name} shows how far it is); where that node is "
        "lost for ever, --ignore-consistency takes the replica as it is: everything written "
        "since it fell behind is lost, and what is there of it may not fit together"
    )


async def examined(promotion: Promotion, node: Node, ask: Examiner) -> None:
    """The replicas on ``node`` are what the store says, or Rejected."""
    disks = tuple(one.disk for one in promotion.before.disks)
    seen = await ask.ask(node.uuid, ReadReplicas(disks=disks), timeouts.URGENT)
    mirrors.usable(
        promotion.before,
        node.name,
        promotion.after.name,
        seen.replicas,
        f"bring instance {promotion.after.name} to node {node.name}",
    )


async def closed(steps: Steps, promotion: Promotion) -> bool:
    """Whether the old primary, where the guest has ended, closed its replicas in order."""
    disks = tuple(one.disk for one in promotion.before.disks)
    try:
        seen = await steps.do("look-at-replicas", promotion.source, ReplicasLook(disks=disks))
    except Cancelled:
        raise
    except GantryError as error:
        steps.warn(f"the old primary's replicas are copied anew: {error.message}")
        return False
    return all(one.clean and not one.problem for one in seen.replicas)


async def promote(steps: Steps, promotion: Promotion, *, clean: bool, still: bool) -> Promoted:
    """Make the target's replicas the primary's; the guest runs nowhere.

    ``clean``: the old primary was closed in order, so that all replicas in sync are the same.
    ``still``: those that were in sync when it was planned still are. Of the target's that is sure:
    it is not let loose while a job may promote it. Another one may have been left behind while the
    guest was being stopped, and is copied anew then.
    """
    await _close(steps, promotion)
    first: Changes | None = Changes(put=(promotion.after,), mirrors=_states(promotion))
    for one in promotion.then.disks:
        order = ReplicaMark(
            disk=one.disk,
            generation=one.disk.generation - 1,
            state=IN_SYNC,
            force=bool(promotion.lost),
        )
        name = f"mark-replica/{one.disk.index}"
        await steps.do(name, promotion.target, order, first=first, timeout=timeouts.URGENT)
        first = None
    return await _follow(steps, promotion, clean=clean, still=still)


async def _close(steps: Steps, promotion: Promotion) -> None:
    """An old primary that is cut off can have no write acknowledged any more."""
    for one in promotion.before.disks:
        await steps.do(
            f"close-replica/{one.disk.index}",
            promotion.target,
            ReplicaClose(disk=one.disk),
            timeout=timeouts.URGENT,
        )


def _states(promotion: Promotion) -> tuple[MirrorChange, ...]:
    """Before anything is written down on nodes: what all replicas are if nothing more happens.

    Those that will follow are syncing until they have.
    """
    found: list[MirrorChange] = []
    for one in promotion.then.disks:
        disk = one.disk.uuid
        found.append(ReplicaBecame(disk=disk, node=promotion.target, state=IN_SYNC))
        for copy in one.copies:
            gone = copy.state is STALE or copy.node == promotion.source or promotion.lost
            state = STALE if gone else SYNCING
            found.append(ReplicaBecame(disk=disk, node=copy.node, state=state))
    return tuple(found)


async def _follow(steps: Steps, promotion: Promotion, *, clean: bool, still: bool) -> Promoted:
    """After an orderly end all that is in sync takes the new generation, and stays so."""
    changes: list[MirrorChange] = []
    disks: list[MirroredDisk] = []
    for one in promotion.then.disks:
        copies: list[Copy] = []
        for copy in one.copies:
            if copy.there and copy.state is not STALE and copy.node != promotion.source:
                await mirroring.close(steps, one, copy)  # it is served to the old primary
            same = clean and copy.state is IN_SYNC and not promotion.lost
            sure = still or copy.node == promotion.source
            if same and sure and await _marked(steps, one.disk, copy):
                state = IN_SYNC
                changes.append(ReplicaBecame(disk=one.disk.uuid, node=copy.node, state=IN_SYNC))
            elif copy.state is STALE or copy.node == promotion.source or promotion.lost:
                state = STALE
            else:
                state = SYNCING
            copies.append(msgspec.structs.replace(copy, state=state))
        disks.append(msgspec.structs.replace(one, copies=tuple(copies)))
    then = msgspec.structs.replace(promotion.then, disks=tuple(disks))
    return Promoted(mirroring=then, known=tuple(changes))


async def _marked(steps: Steps, disk: DiskSpec, copy: Copy) -> bool:
    if not copy.there:
        return False
    mark = ReplicaMark(disk=disk, generation=disk.generation - 1, state=IN_SYNC)
    name = f"mark-replica/{disk.index}/{copy.name}"
    behind = f"the replica on node {copy.name} is left behind"
    return await succeeds(steps, name, copy.node, mark, behind, timeout=timeouts.URGENT)
