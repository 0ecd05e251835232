"""What failover, migration and move share: which node is meant, and what it must be able to do.

Pure, but for ``sees_disks``, which asks the target.
"""

from __future__ import annotations

from gantry.model import locks, timeouts
from gantry.model.entities import DiskTemplate, Instance, NicMode, Node
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.names import Uuid
from gantry.model.orders import GuestForget, GuestStop, Inspect
from gantry.model.snapshot import Claim, Snapshot
from gantry.operations.base import Examiner
from gantry.operations.steps import allocation, checks
from gantry.ports.steps import Outcome, Steps, Undo


def needs(cluster: Snapshot, instance: Instance, target: str | None) -> Needs:
    """The locks: the instance's, and those of the nodes that it may come to."""
    nodes = [cluster.node(target).uuid] if target else list(cluster.nodes)
    shared = sorted({*checks.all_nodes(instance), *nodes})
    return Needs.of(
        shared=[locks.CLUSTER, *(locks.node(uuid) for uuid in shared)],
        exclusive=[locks.instance(instance.uuid)],
    )


def no_allocator(name: str | None) -> None:
    """There is no iallocator, or Rejected."""
    if name:
        raise Rejected(
            f"there is no instance allocator {name!r}",
            "leave it out: without -n the node with the most free memory is taken",
        )


def target(
    cluster: Snapshot, instance: Instance, wanted: str | None, *, memory: int, disk: int = 0
) -> Node:
    """The node that the instance comes to: the one that was named, or the most free one.

    ``memory`` and ``disk`` are the MiB that it needs there (0: it is not started). Rejected.
    """
    own = instance.primary_node
    if wanted is None:
        return allocation.most_free(cluster, instance.hypervisor, memory, disk, but={own})
    node = cluster.node(wanted)
    elsewhere(instance, node)
    checks.node_usable(cluster, node, f"bring instance {instance.name} to it")
    _able(cluster, instance, node)
    if memory:
        checks.memory_fits(cluster, node, memory, f"instance {instance.name}")
    if disk:
        checks.disk_fits(cluster, node, disk, f"instance {instance.name}")
    return node


def elsewhere(instance: Instance, node: Node) -> None:
    """It is another node than the instance's, or Rejected."""
    if node.uuid == instance.primary_node:
        raise Rejected(
            f"node {node.name} is where instance {instance.name} is already",
            "name another one with -n",
            reason=Reason.STATE,
            node=node.name,
            object_name=instance.name,
        )


def _able(cluster: Snapshot, instance: Instance, node: Node) -> None:
    why = ""
    if node.drained:
        why = "is drained: it takes no more instances"
    elif not node.vm_capable:
        why = "is not vm_capable"
    facts = cluster.node_live(node.uuid).facts
    offer = facts.hypervisors.get(instance.hypervisor) if facts else None
    if offer is None or not offer.available:
        because = f": {offer.why}" if offer and offer.why else ""
        why = why or f"cannot run guests of hypervisor {instance.hypervisor}{because}"
    if why:
        raise Rejected(
            f"node {node.name} {why}",
            "gnt-node list shows other nodes; gnt-node info says more about this one",
            reason=Reason.STATE,
            node=node.name,
            object_name=instance.name,
        )


def shared(instance: Instance) -> bool:
    """Whether every node can reach its disks."""
    return instance.disk_template in (DiskTemplate.DISKLESS, DiskTemplate.SHAREDFILE)


async def sees_disks(ask: Examiner, cluster: Snapshot, instance: Instance, node: Node) -> None:
    """The node has the instance's shared disks and its bridges, or Rejected.

    Asked before anything is stopped.
    """
    disks = tuple(disk.path for disk in instance.disks) if shared(instance) else ()
    bridges = {nic.link for nic in instance.nics if nic.mode is NicMode.BRIDGED}
    if not disks and not bridges:
        return
    question = Inspect(disks=disks, bridges=tuple(sorted(bridges)))
    found = await ask.ask(node.uuid, question, timeouts.URGENT)
    for code, item, message in found.problems:
        if code == "EINSTANCEMISSINGDISK" and item in disks:
            raise Rejected(
                f"instance {instance.name} cannot run on node {node.name}: {message}",
                "is the shared file system mounted there?",
                reason=Reason.ENVIRONMENT,
                node=node.name,
                object_name=instance.name,
            )
        if code == "ENODENET":
            raise Rejected(
                f"instance {instance.name} cannot run on node {node.name}: {message}",
                "make the bridge there, or choose another node",
                reason=Reason.ENVIRONMENT,
                node=node.name,
                object_name=instance.name,
            )


def claims(node: Node, *, memory: int, disk: int = 0) -> tuple[Claim, ...]:
    """What a running job counts on there."""
    return (Claim(node=node.uuid, memory=memory, disk=disk),) if memory or disk else ()


def forget(instance: Instance, node: Uuid) -> Undo:
    """What the node that it left drops, once it has left."""
    return Undo(node, GuestForget(uuid=instance.uuid, hypervisor=instance.hypervisor))


def end(instance: Instance, node: Uuid) -> GuestStop:
    """End the guest at once, and drop what is kept of it there."""
    return GuestStop(
        uuid=instance.uuid, hypervisor=instance.hypervisor, timeout=0, force=True, forget=True
    )


def sides(cluster: Snapshot, instance: Instance, node: Node) -> dict[str, str]:
    """What hooks are told of where it is and where it goes to.

    The old side is looked up again in post, as scripts in the field know it: it then is the new
    one. Secondaries are told of mirrored disks alone: there the two change places.
    """
    now = cluster.instances[instance.uuid]
    others = [cluster.nodes[uuid].name for uuid in now.secondary_nodes]
    return {
        "OLD_PRIMARY": cluster.nodes[now.primary_node].name,
        "NEW_PRIMARY": node.name,
        "OLD_SECONDARY": others[0] if others else "",
        "NEW_SECONDARY": cluster.nodes[instance.primary_node].name if others else "",
    }


def recorded(instance: Instance, source: Node, node: Node, steps: Steps) -> Outcome:
    """Of ``--cleanup``: the record names ``node``, where the guest was found."""
    if source.uuid == node.uuid:
        steps.log(f"the record of {instance.name} is right: node {source.name}")
        return Outcome()
    steps.log(f"{instance.name} runs on node {node.name}: this is written down")
    return Outcome(put=(checks.changed(instance, steps.now, primary_node=node.uuid),))
