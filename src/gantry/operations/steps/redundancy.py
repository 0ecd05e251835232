"""What verification finds of mirrored disks, each with the command that mends it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from gantry.model.entities import Disk, DiskTemplate, Instance, Mirror, Replica, ReplicaState
from gantry.model.errors import GantryError
from gantry.model.names import Uuid
from gantry.model.replica_orders import ReplicaSeen
from gantry.model.snapshot import Snapshot
from gantry.operations.steps import disks, mirrors
from gantry.operations.steps.finding import Finding

FAULTY: Final = "EINSTANCEFAULTYDISK"


def configuration(cluster: Snapshot) -> Iterator[Finding]:
    """What the records alone show: records that do not fit together."""
    for mirror in cluster.mirrors.values():
        owner = cluster.instances.get(mirror.instance)
        if owner is None or mirror.uuid not in {disk.uuid for disk in owner.disks}:
            yield Finding(
                code="ECLUSTERCFG",
                kind="cluster",
                item=cluster.cluster.name,
                message=f"keeps replicas of a disk that no instance has ({mirror.uuid}): please "
                "report it",
                level="WARNING",
            )
    for one in cluster.instances.values():
        if one.disk_template is DiskTemplate.MIRROR:
            yield from _fitting(cluster, one)


def _fitting(cluster: Snapshot, one: Instance) -> Iterator[Finding]:
    records = mirrors.records(cluster, one)
    for disk in one.disks:
        mirror = cluster.mirrors.get(disk.uuid)
        if mirror is None or one.primary_node not in mirror.replicas:
            yield _finding(one, f"nothing is known of the replicas of disk {disk.uuid}: report it")
    if set(mirrors.secondaries(one, records)) != set(one.secondary_nodes):
        yield _finding(one, "its secondary nodes are not those with replicas: please report it")


def degraded(cluster: Snapshot) -> Iterator[Finding]:
    """Replicas that are not in sync, and disks that have no other one at all."""
    for one in cluster.instances.values():
        for index, disk in enumerate(one.disks):
            mirror = cluster.mirrors.get(disk.uuid)
            if mirror is None:
                continue
            if len(mirror.replicas) < 2:
                drive = disks.drive(index)
                yield _finding(
                    one,
                    f"disk {index} has no replica but the primary's: "
                    f"gnt-instance add-mirror -b {drive} -n NODE {one.name}",
                    "WARNING",
                )
            for node, replica in mirror.replicas.items():
                if node != one.primary_node and replica.state is not ReplicaState.IN_SYNC:
                    yield _behind(cluster, one, index, node, replica)


def _behind(cluster: Snapshot, one: Instance, index: int, node: Uuid, replica: Replica) -> Finding:
    name, drive = cluster.nodes[node].name, disks.drive(index)
    what = f"the replica of disk {index} on {name} is {replica.state}"
    if replica.state is ReplicaState.SYNCING:
        guest = cluster.guest(one)
        way = f"gnt-instance info {one.name} shows how far it is"
        if guest is None or not guest.up:
            way = f"it is copied when it runs: gnt-instance startup {one.name}"
        return _finding(one, f"{what}: {way}", "WARNING")
    if mirrors.there(cluster, cluster.nodes[node]):
        return _finding(one, f"{what}: gnt-instance sync-disks {one.name}")
    return _finding(
        one,
        f"{what}, and that node is away: bring it back, or gnt-instance add-mirror -b {drive} "
        f"-n NODE {one.name}, then remove-mirror -b {drive} -p {replica.number}",
    )


def orphans(cluster: Snapshot, node: Uuid, there: Iterable[str]) -> set[str]:
    """Of the files on ``node`` those that have a mirrored disk's path, and are no replica."""
    if not cluster.mirrors:
        return set()
    having = {disk.path for _, _, disk in wanted(cluster).get(node, [])}
    paths = {
        disk.path
        for one in cluster.instances.values()
        if one.disk_template is DiskTemplate.MIRROR
        for disk in one.disks
    }
    return (set(there) & paths) - having


def missing(cluster: Snapshot, gone: Mapping[Uuid, set[str]]) -> Iterator[Finding]:
    """Files of replicas beside the primary's that their nodes do not have."""
    for node, found in wanted(cluster).items():
        for one, index, disk in found:
            if node != one.primary_node and disk.path in gone.get(node, ()):
                name = cluster.nodes[node].name
                yield Finding(
                    code="EINSTANCEMISSINGDISK",
                    kind="instance",
                    item=one.name,
                    message=f"the replica of disk {index} is missing on {name}: "
                    f"gnt-instance replace-disks -s {one.name}",
                )


def wanted(cluster: Snapshot) -> dict[Uuid, list[tuple[Instance, int, Disk]]]:
    """By node, all disks that have a replica there: (instance, number of the disk, disk)."""
    found: dict[Uuid, list[tuple[Instance, int, Disk]]] = {}
    for one in cluster.instances.values():
        for index, disk in enumerate(one.disks):
            mirror = cluster.mirrors.get(disk.uuid)
            for node in mirror.replicas if mirror is not None else ():
                found.setdefault(node, []).append((one, index, disk))
    return found


def copies(cluster: Snapshot) -> dict[Uuid, list[str]]:
    """By node, the files of the replicas there that are not the primary's."""
    return {
        node: [disk.path for one, _, disk in found if one.primary_node != node]
        for node, found in wanted(cluster).items()
    }


def seen(
    cluster: Snapshot, answers: Mapping[Uuid, tuple[ReplicaSeen, ...] | GantryError]
) -> Iterator[Finding]:
    """What the nodes say of their replicas, compared with the records, in the order of
    ``wanted``.
    """
    for node, found in wanted(cluster).items():
        said = answers.get(node)
        if isinstance(said, tuple):
            for (one, index, disk), replica in zip(found, said, strict=True):
                mirror = cluster.mirrors[disk.uuid]
                why = _wrong(mirror, node, disk, replica)
                if why:
                    yield _unfit(cluster, one, index, node, why)
        elif said is not None:
            yield Finding(
                code="ENODERPC",
                kind="node",
                item=cluster.nodes[node].name,
                message=f"does not say what replicas it has: {said.message}",
            )


def _wrong(mirror: Mirror, node: Uuid, disk: Disk, replica: ReplicaSeen) -> str:
    state = mirror.replicas[node].state
    if state is ReplicaState.STALE:
        return ""  # whatever it is, it is overwritten before it is used
    if not replica.there:
        return "is not there"
    if replica.generation != disk.generation and replica.generation:
        return f"is of generation {replica.generation}, not {disk.generation}"
    if state is ReplicaState.IN_SYNC and replica.problem:
        return f"must not be used: {replica.problem}"
    return ""


def _unfit(cluster: Snapshot, one: Instance, index: int, node: Uuid, why: str) -> Finding:
    name = cluster.nodes[node].name
    message = f"the replica of disk {index} on {name} {why}"
    if node == one.primary_node:
        return _finding(
            one,
            f"{message}; it is the primary's: gnt-instance failover {one.name} takes one that is "
            "in sync",
        )
    return _finding(
        one,
        f"{message}: the next start leaves it behind, and copies it anew; while the guest runs "
        f"gnt-instance replace-disks -s {one.name} does",
    )


def _finding(one: Instance, message: str, level: str = "ERROR") -> Finding:
    return Finding(code=FAULTY, kind="instance", item=one.name, message=message, level=level)
