"""Where a guest is found, whatever its record says: what ``--cleanup`` writes down. Pure."""

from __future__ import annotations

from gantry.model.entities import Instance, Node
from gantry.model.errors import Reason, Rejected
from gantry.model.snapshot import Snapshot
from gantry.operations.steps import death, moving


def found(cluster: Snapshot, instance: Instance) -> Node:
    """The node that the record should name: where the guest runs, else the one it names.

    Rejected where it runs on several, or where it is not certain that it does not run on the
    node that the record names.
    """
    nodes = [
        cluster.nodes[uuid]
        for uuid, live in cluster.live.items()
        if uuid in cluster.nodes and live.reachable
        if (guest := live.guests.get(instance.uuid)) is not None and guest.up
    ]
    own = cluster.nodes[instance.primary_node]
    if not nodes or nodes == [own]:
        return own
    if len(nodes) > 1:
        names = sorted(node.name for node in nodes)
        raise Rejected(
            f"instance {instance.name} runs on several nodes: {', '.join(names)}",
            f"end all but one at once: gnt-node end-guest NODE {instance.uuid}",
            reason=Reason.STATE,
            object_name=instance.name,
        )
    [node] = nodes
    if not moving.shared(instance):
        raise Rejected(
            f"instance {instance.name} runs on node {node.name}, and its disks are of node "
            f"{own.name}: it cannot be the right one",
            f"end it: gnt-node end-guest {node.name} {instance.uuid}",
            reason=Reason.STATE,
            node=node.name,
            object_name=instance.name,
        )
    death.proven(cluster, instance, own, f"write down node {node.name} for {instance.name}")
    return node
