"""Checks that several operations make before they plan: pure, Rejected where they fail."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from gantry.model import locks
from gantry.model.entities import AdminState, DiskTemplate, Entity, Instance, Node
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.names import Uuid
from gantry.model.orders import GuestSpec, GuestStart
from gantry.model.parameters import memory
from gantry.model.snapshot import Snapshot

E = TypeVar("E", bound=Entity)


def changed(entity: E, now: float, **fields: object) -> E:
    """``entity`` with other fields, one serial number on."""
    return msgspec.structs.replace(entity, serial_no=entity.serial_no + 1, mtime=now, **fields)


def instance_locks(instance: Instance) -> Needs:
    """What every operation on one instance needs."""
    return Needs.of(
        shared=[locks.CLUSTER, *(locks.node(uuid) for uuid in all_nodes(instance))],
        exclusive=[locks.instance(instance.uuid)],
    )


def all_nodes(instance: Instance) -> tuple[Uuid, ...]:
    """Primary first."""
    return (instance.primary_node, *instance.secondary_nodes)


def node_usable(cluster: Snapshot, node: Node, purpose: str) -> None:
    """The node is there to do something now."""
    if node.offline:
        raise Rejected(
            f"cannot {purpose}: node {node.name} is marked offline",
            f"when it is back: gnt-node modify --offline=no {node.name}",
            reason=Reason.STATE,
            node=node.name,
        )
    live = cluster.node_live(node.uuid)
    if not live.reachable:
        why = f" ({live.problem})" if live.problem else ""
        raise Rejected(
            f"cannot {purpose}: the agent of node {node.name} does not answer{why}",
            _way_back(node, live.problem),
            reason=Reason.ENVIRONMENT,
            node=node.name,
        )


def _way_back(node: Node, problem: str) -> str:
    if "certificate" in problem:
        return (
            "the machine may well be running: on the master, gantry renew-certificates; if it is "
            f"the node's that has expired, join it again (gantry token {node.name})"
        )
    return (
        "start it there (systemctl start gantry-agent), or, once the machine is certainly "
        f"off, mark it: gnt-node modify --offline=yes {node.name}"
    )


def not_offline(instance: Instance) -> None:
    """The instance is not set aside."""
    if instance.admin_state is AdminState.OFFLINE:
        raise Rejected(
            f"instance {instance.name} is marked offline",
            f"bring it back with gnt-instance modify --online {instance.name}",
            reason=Reason.STATE,
            object_name=instance.name,
        )


def stopped(cluster: Snapshot, instance: Instance, purpose: str) -> None:
    """The instance is down, by its record and by what its nodes say; or Rejected."""
    wanted = instance.admin_state is AdminState.UP
    if wanted or running(cluster, instance):
        raise Rejected(
            f"cannot {purpose}: it is {'to be up' if wanted else 'running'}",
            f"stop it first: gnt-instance shutdown {instance.name}",
            reason=Reason.STATE,
            object_name=instance.name,
        )
    guest = cluster.guest(instance)
    if guest is not None and guest.mirrors:
        raise Rejected(
            f"cannot {purpose}: its disks are active, and mirrored without it",
            f"close them first: gnt-instance deactivate-disks {instance.name}",
            reason=Reason.STATE,
            object_name=instance.name,
        )
    nowhere_else(cluster, instance)


def running(cluster: Snapshot, instance: Instance) -> bool:
    """Whether its primary node says that the guest is up."""
    guest = cluster.guest(instance)
    return guest is not None and guest.up


def back_up(instance: Instance, spec: GuestSpec, was_running: bool) -> GuestStart | None:
    """How to undo that the guest was stopped: only one that should be up is started again.

    A guest that runs against its record (left by an undo that is still owed, say) stays down. So
    does one with mirrored disks: it is started with its replicas or not at all, and supervision
    does that.
    """
    mirrored = instance.disk_template is DiskTemplate.MIRROR
    wanted = was_running and instance.admin_state is AdminState.UP and not mirrored
    return GuestStart(spec=spec) if wanted else None


def nowhere_else(cluster: Snapshot, instance: Instance) -> None:
    """No other node runs the guest, or may run it: it must never run twice."""
    for doubted in cluster.may_run(instance.uuid, instance.primary_node):
        raise Rejected(
            f"instance {instance.name} may run on node {doubted.name}, which has not yet done what "
            "it was told: to end that guest",
            f"it does so by itself when it answers; if the machine is certainly powered off: "
            f"gnt-node modify --offline=yes {doubted.name}",
            reason=Reason.STATE,
            node=doubted.name,
            object_name=instance.name,
        )
    for uuid, live in cluster.live.items():
        guest = live.guests.get(instance.uuid)
        node = cluster.nodes.get(uuid)
        off = node is not None and node.offline and not live.reachable
        if uuid != instance.primary_node and guest is not None and guest.up and not off:
            name = node.name if node else uuid
            raise Rejected(
                f"instance {instance.name} runs on node {name}, which is not its node",
                f"end that guest first: gnt-node end-guest {name} {instance.uuid}; or, if that is "
                f"where it belongs: gnt-instance failover --cleanup {instance.name}",
                reason=Reason.STATE,
                node=name,
                object_name=instance.name,
            )


def uncounted(cluster: Snapshot, instance: Instance, wanted: int) -> int:
    """How many of the ``wanted`` MiB the node's free memory does not count already."""
    counted = instance.admin_state is AdminState.UP
    return max(wanted - memory(cluster.cluster, instance), 0) if counted else wanted


def memory_fits(cluster: Snapshot, node: Node, wanted: int, what: str) -> None:
    """The node has ``wanted`` MiB that no other instance counts on."""
    free = cluster.free_memory(node.uuid)
    if free is not None and wanted > max(free, 0):
        raise Rejected(
            f"{what} needs {wanted} MiB of memory, node {node.name} has {max(free, 0)} MiB left",
            "choose another node (gnt-node list shows what is free) or less memory",
            reason=Reason.NO_RESOURCES,
            node=node.name,
        )


def disk_fits(cluster: Snapshot, node: Node, wanted: int, what: str) -> None:
    """The node's file storage has ``wanted`` MiB that nobody else counts on."""
    free = cluster.free_disk(node.uuid)
    if free is not None and wanted > max(free, 0):
        raise Rejected(
            f"{what} needs {wanted} MiB of disk, node {node.name} has {max(free, 0)} MiB left",
            "choose another node (gnt-node list shows what is free) or smaller disks",
            reason=Reason.NO_RESOURCES,
            node=node.name,
        )
