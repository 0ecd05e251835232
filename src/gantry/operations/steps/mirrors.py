"""Replicas of an instance's disks, as operations plan with them. Pure.

What they do with them in ``run`` is in ``mirroring``; see docs/adr/0015-mirror.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from gantry.model.backup_orders import Peer
from gantry.model.entities import Disk, DiskTemplate, Instance, Mirror, Node, Replica, ReplicaState
from gantry.model.errors import Reason, Rejected
from gantry.model.live import GuestLive, MirrorLive
from gantry.model.names import Uuid
from gantry.model.replica_orders import ReadReplicas, ReplicaSeen
from gantry.model.replicas import MirrorChange, ReplicaBecame, all_changed
from gantry.model.snapshot import Snapshot
from gantry.model.specs import DiskSpec
from gantry.model.timeouts import URGENT
from gantry.operations.base import Examiner
from gantry.operations.steps import specs

IN_SYNC, SYNCING, STALE = ReplicaState.IN_SYNC, ReplicaState.SYNCING, ReplicaState.STALE


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A replica that is not the primary's. ``host`` is its node's secondary address.

    ``there``: its node answers, and may be told to serve it.
    """

    node: Uuid
    name: str
    host: str
    number: int
    state: ReplicaState
    there: bool


class MirroredDisk(msgspec.Struct, frozen=True, kw_only=True):
    """A disk and its replicas on other nodes."""

    disk: DiskSpec
    copies: tuple[Copy, ...]


class Mirroring(msgspec.Struct, frozen=True, kw_only=True):
    """All disks of an instance. ``peer`` is the primary node, as the others know it.

    ``clean``: what the primary has is what was there at the last orderly stop.
    """

    peer: Peer
    disks: tuple[MirroredDisk, ...]
    clean: bool = True
    active: bool = False
    """A storage daemon mirrors them, without a guest."""
    pending: dict[int, int] = {}
    """By the number of the disk: the generation that its replica's own record has still, where
    it was promoted in the store and its node has not heard of that."""

    @property
    def marks(self) -> tuple[MirrorChange, ...]:
        """What must be in the store before a guest reads anything: after an unclean stop the
        other replicas may have less, or more, than the primary.

        Said of all that are copied, as another one may have come to be in sync since the plan.
        """
        return tuple(
            ReplicaBecame(disk=one.disk.uuid, node=copy.node, state=SYNCING, only_from=IN_SYNC)
            for one in self.disks
            for copy in one.copies
            if copy.state is SYNCING or (not self.clean and copy.state is IN_SYNC)
        )


def peer(node: Node) -> Peer:
    """A node as the other end of a mirror knows it."""
    return Peer(node=node.uuid, name=node.name, host=node.secondary_ip)


def there(cluster: Snapshot, node: Node) -> bool:
    """Whether the node can be told anything now."""
    return not node.offline and cluster.node_live(node.uuid).reachable


def copy(cluster: Snapshot, instance: Instance, node: Uuid, replica: Replica) -> Copy:
    """A replica with what is known of its node.

    One whose node runs the guest, or may run it, against its record, is not to be written to.
    """
    entity = cluster.nodes[node]
    guest = cluster.node_live(node).guests.get(instance.uuid)
    runs = (guest is not None and guest.up) or entity in cluster.may_run(
        instance.uuid, instance.primary_node
    )
    return Copy(
        node=node,
        name=entity.name,
        host=entity.secondary_ip,
        number=replica.number,
        state=replica.state,
        there=there(cluster, entity) and not runs,
    )


def copies(cluster: Snapshot, instance: Instance, disk: Disk) -> tuple[Copy, ...]:
    """The replicas of a disk beside the primary's, by number."""
    mirror = cluster.mirrors.get(disk.uuid)
    found = [
        copy(cluster, instance, node, replica)
        for node, replica in (mirror.replicas if mirror else {}).items()
        if node != instance.primary_node and node in cluster.nodes
    ]
    return tuple(sorted(found, key=lambda one: one.number))


def of(cluster: Snapshot, instance: Instance) -> Mirroring | None:
    """The replicas of all disks; None where the disks are not mirrored."""
    if instance.disk_template is not DiskTemplate.MIRROR:
        return None
    guest = cluster.guest(instance)
    return Mirroring(
        peer=peer(cluster.nodes[instance.primary_node]),
        active=guest is not None and not guest.up and bool(guest.mirrors),
        disks=tuple(
            MirroredDisk(disk=specs.disk(index, one), copies=copies(cluster, instance, one))
            for index, one in enumerate(instance.disks)
        ),
    )


def required(cluster: Snapshot, instance: Instance, purpose: str) -> Mirroring:
    """The same, or Rejected where its disks are not mirrored."""
    found = of(cluster, instance)
    if found is None:
        raise Rejected(
            f"cannot {purpose}: disk template {instance.disk_template} has no replicas",
            f"gnt-instance modify -t mirror -n NODE {instance.name} makes some (of a file)",
            reason=Reason.STATE,
            object_name=instance.name,
        )
    return found


def only(mirroring: Mirroring, wanted: Callable[[MirroredDisk, Copy], bool]) -> Mirroring:
    """With no other replicas than those."""
    disks = tuple(
        msgspec.structs.replace(one, copies=tuple(copy for copy in one.copies if wanted(one, copy)))
        for one in mirroring.disks
    )
    return msgspec.structs.replace(mirroring, disks=disks)


def holders(cluster: Snapshot, instance: Instance) -> tuple[tuple[Uuid, ...], ...]:
    """For each disk the nodes that have a copy of it, the primary first."""
    return tuple(
        (instance.primary_node, *(one.node for one in copies(cluster, instance, disk)))
        for disk in instance.disks
    )


def written(cluster: Snapshot, instance: Instance) -> tuple[MirrorChange, ...]:
    """What becomes of the other replicas when only the primary's is written to (OS scripts)."""
    return tuple(
        ReplicaBecame(disk=disk.uuid, node=one.node, state=SYNCING, only_from=IN_SYNC)
        for disk in instance.disks
        for one in copies(cluster, instance, disk)
        if one.state is IN_SYNC
    )


def records(cluster: Snapshot, instance: Instance) -> tuple[Mirror, ...]:
    """The store's records of its disks' replicas."""
    found = (cluster.mirrors.get(disk.uuid) for disk in instance.disks)
    return tuple(one for one in found if one is not None)


def made(instance: Instance, disk: Disk, copied: bool, now: float) -> Mirror:
    """The record of a new disk's replicas; ``copied``: all are the same already."""
    others = IN_SYNC if copied else SYNCING
    nodes = (instance.primary_node, *instance.secondary_nodes)
    return Mirror(
        uuid=disk.uuid,
        name=disk.uuid,
        ctime=now,
        mtime=now,
        instance=instance.uuid,
        replicas={
            node: Replica(number=number, state=others if number else IN_SYNC)
            for number, node in enumerate(nodes)
        },
        next_number=len(nodes),
    )


def secondaries(
    instance: Instance, mirrors: Iterable[Mirror], *changes: MirrorChange
) -> tuple[Uuid, ...]:
    """The nodes other than the primary that have a replica of any disk after these changes;
    those that had one before come first.
    """
    by_disk = {mirror.uuid: mirror for mirror in mirrors}
    by_disk |= {mirror.uuid: mirror for mirror in all_changed(by_disk, changes)}
    having = dict.fromkeys(node for mirror in by_disk.values() for node in mirror.replicas)
    kept = [node for node in instance.secondary_nodes if node in having]
    added = [node for node in having if node not in (*kept, instance.primary_node)]
    return (*kept, *added)


def live(guest: GuestLive | None, disk: Uuid, node: Uuid) -> MirrorLive | None:
    """What the guest's node says of the mirroring of a disk to ``node``."""
    found = guest.mirrors if guest is not None else ()
    return next((one for one in found if (one.disk, one.node) == (disk, node)), None)


async def examined(
    mirroring: Mirroring, instance: Instance, ask: Examiner, purpose: str
) -> Mirroring:
    """With what the primary's replicas are; Rejected where they must not be used."""
    disks = tuple(one.disk for one in mirroring.disks)
    seen = await ask.ask(mirroring.peer.node, ReadReplicas(disks=disks), URGENT)
    pending = {
        one.disk.index: found.generation
        for one, found in zip(mirroring.disks, seen.replicas, strict=True)
        if found.there and 0 < found.generation < one.disk.generation
    }
    if pending:
        return msgspec.structs.replace(mirroring, pending=pending)
    usable(mirroring, mirroring.peer.name, instance.name, seen.replicas, purpose)
    return msgspec.structs.replace(mirroring, clean=all(one.clean for one in seen.replicas))


def usable(
    mirroring: Mirroring, node: str, instance: str, seen: Sequence[ReplicaSeen], purpose: str
) -> None:
    """The replicas on ``node`` are there and what the store says, or Rejected."""
    for one, found in zip(mirroring.disks, seen, strict=True):
        problem = found.problem
        if not found.there:
            problem = "its file is not there"
        elif not problem and found.generation != one.disk.generation:
            problem = f"it is of generation {found.generation}, not {one.disk.generation}"
        if problem:
            raise Rejected(
                f"cannot {purpose}: the replica of disk {one.disk.index} on node "
                f"{node} must not be used: {problem}",
                f"gnt-instance replace-disks -a {instance} makes it anew from one in sync, "
                f"gnt-instance failover {instance} takes that one; gnt-instance info shows them",
                reason=Reason.STATE,
                node=node,
                object_name=instance,
            )
