"""What becomes of replicas while guests run: the keeper (docs/adr/0015-mirror.md).

``decide`` is pure: what agents say of their guests' mirrors, compared with what the store says.
A replica is in the store as stale before writes go on without it, and as in sync only after its
node has marked it so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from gantry.model.entities import AdminState, Disk, DiskTemplate, Instance, Mirror, ReplicaState
from gantry.model.errors import Rejected
from gantry.model.jobs import Job
from gantry.model.live import GuestLive, MirrorLive, MirrorPhase
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot

IN_SYNC, SYNCING, STALE = ReplicaState.IN_SYNC, ReplicaState.SYNCING, ReplicaState.STALE
PROMOTING: Final = ("OP_INSTANCE_FAILOVER", "OP_INSTANCE_MIGRATE")
"""Operations that make another replica the primary's."""


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """Stale in the store, where it is not yet; then writes go on without it."""

    disk: Uuid
    index: int
    node: Uuid
    mark: bool


class Forsake(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is mirrored there, though the store has it as in sync: it is stale."""

    disk: Uuid
    node: Uuid


class Settle(msgspec.Struct, frozen=True, kw_only=True):
    """All of it is there: marked so on its node, then in sync in the store."""

    disk: Uuid
    index: int
    node: Uuid


Step: TypeAlias = Release | Forsake | Settle


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """``steps`` in their order. ``missing`` are (disk, node) that nothing is mirrored to, though
    something should be: to be believed only when it stays so. ``sync``: a job is to mirror anew.
    ``again``: something was left for later, since a job is about it.
    """

    steps: tuple[Step, ...] = ()
    missing: frozenset[tuple[Uuid, Uuid]] = frozenset()
    sync: bool = False
    again: bool = False


def mirrored(cluster: Snapshot, node: Uuid) -> set[Uuid]:
    """The instances with a replica on ``node``."""
    return {one.instance for one in cluster.mirrors.values() if node in one.replicas}


def guarded(cluster: Snapshot, jobs: Iterable[Job], instance: Instance) -> frozenset[Uuid]:
    """The nodes whose replica a job that has not ended may make the primary's."""
    found: set[Uuid] = set()
    for job in jobs:
        for record in () if job.status.ended else job.ops:
            if record.status.ended or record.input.get("OP_ID") not in PROMOTING:
                continue
            if _named(cluster, record.input) != instance.uuid:
                continue
            target = record.input.get("target_node")
            found |= _nodes(cluster, instance, target)
    return frozenset(found)


def _named(cluster: Snapshot, given: Mapping[str, object]) -> Uuid | None:
    try:
        return cluster.instance(str(given.get("instance_name"))).uuid
    except Rejected:
        return None


def _nodes(cluster: Snapshot, instance: Instance, target: object) -> set[Uuid]:
    try:
        return {cluster.node(str(target)).uuid} if target else {*instance.secondary_nodes}
    except Rejected:
        return {*instance.secondary_nodes}


def decide(
    cluster: Snapshot,
    instance: Instance,
    *,
    guards: Collection[Uuid] = (),
    busy: bool = False,
    missing: Collection[tuple[Uuid, Uuid]] = (),
) -> Decision:
    """What is to be done about the replicas of one instance.

    ``guards`` are nodes whose replica may be promoted by a job that is under way: nothing is let
    loose of those. ``busy``: some job is about the instance. ``missing`` are those that have been
    seen without a mirror for long enough.
    """
    guest = cluster.guest(instance)
    home = cluster.node_live(instance.primary_node)
    if instance.disk_template is not DiskTemplate.MIRROR or guest is None or not home.reachable:
        return Decision()
    if not guest.up and not guest.mirrors:
        # Where it is started again, what is not in sync is mirrored anew then.
        return Decision(again=instance.admin_state is AdminState.UP)
    return _decided(
        list(_said(cluster, instance, guest, busy=busy)),
        [] if busy or not guest.up else list(_lacking(cluster, instance, guest)),
        guards=guards,
        busy=busy,
        missing=missing,
        away=_away(cluster),
    )


def _away(cluster: Snapshot) -> frozenset[Uuid]:
    """Nodes that nothing can be mirrored to now."""
    return frozenset(
        node.uuid
        for node in cluster.nodes.values()
        if node.offline or not cluster.node_live(node.uuid).reachable
    )


def _decided(
    said: Sequence[Step],
    lacking: Sequence[tuple[Uuid, Uuid, ReplicaState]],
    *,
    guards: Collection[Uuid],
    busy: bool,
    missing: Collection[tuple[Uuid, Uuid]],
    away: Collection[Uuid],
) -> Decision:
    steps = [one for one in said if one.node not in guards]
    steps.sort(key=lambda one: isinstance(one, Settle))  # writes wait for the others
    unmirrored = {(disk, node) for disk, node, state in lacking if state is not STALE}
    believed = [one for one in lacking if one[:2] in missing]
    steps += [Forsake(disk=disk, node=node) for disk, node, state in believed if state is IN_SYNC]
    wanted = [
        node
        for disk, node, state in lacking
        if node not in away and (state is STALE or (disk, node) in missing)
    ]
    later = [one for one in said if one.node in guards]
    return Decision(
        steps=tuple(steps),
        missing=frozenset(unmirrored),
        sync=bool(wanted) and not busy and not steps,
        again=bool(later) or bool(unmirrored) or bool(wanted) or busy,
    )


def _said(cluster: Snapshot, instance: Instance, guest: GuestLive, *, busy: bool) -> Iterator[Step]:
    """What follows from the mirrors that the guest's node tells of."""
    indexes = {disk.uuid: index for index, disk in enumerate(instance.disks)}
    for live in guest.mirrors:
        mirror = cluster.mirrors.get(live.disk)
        if mirror is None or live.disk not in indexes:
            continue
        step = _step(mirror, live, indexes[live.disk], busy=busy)
        if step is not None:
            yield step


def _step(mirror: Mirror, live: MirrorLive, index: int, *, busy: bool) -> Step | None:
    replica = mirror.replicas.get(live.node)
    if replica is None:
        # One that a job is about to add is not in the store before the job has ended.
        leave = not busy
        mark = False
    else:
        leave = live.phase is MirrorPhase.LOST or (replica.state is STALE and not busy)
        mark = replica.state is not STALE
    if leave:
        return Release(disk=live.disk, index=index, node=live.node, mark=mark)
    if live.phase is MirrorPhase.READY and replica is not None and replica.state is SYNCING:
        return Settle(disk=live.disk, index=index, node=live.node)
    return None


def _lacking(
    cluster: Snapshot, instance: Instance, guest: GuestLive
) -> Iterator[tuple[Uuid, Uuid, ReplicaState]]:
    """Replicas that nothing is mirrored to: (disk, node, state)."""
    mirrored = {(one.disk, one.node) for one in guest.mirrors}
    for disk in instance.disks:
        for node, state in _others(cluster, instance, disk):
            if (disk.uuid, node) not in mirrored:
                yield disk.uuid, node, state


def _others(
    cluster: Snapshot, instance: Instance, disk: Disk
) -> Iterator[tuple[Uuid, ReplicaState]]:
    mirror = cluster.mirrors.get(disk.uuid)
    for node, replica in mirror.replicas.items() if mirror is not None else ():
        if node != instance.primary_node:
            yield node, replica.state
