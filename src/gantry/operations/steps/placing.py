"""On which other nodes the replicas of a new instance's disks go. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from gantry.model.entities import DiskTemplate, HypervisorName, Node
from gantry.model.errors import Reason, Rejected
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.operations.steps import allocation, checks

MOST_COPIES: Final = 4
"""Replicas of one disk, the primary's among them: each write goes to all of them."""


def secondaries(
    cluster: Snapshot,
    template: DiskTemplate,
    hypervisor: HypervisorName,
    primary: Node,
    wanted: Sequence[str],
    disk: int,
) -> tuple[Node, ...]:
    """The nodes named as ``wanted``; where none is, the most free one, if the disks are mirrored.

    ``disk`` are the MiB of all disks. Rejected.
    """
    if template is not DiskTemplate.MIRROR:
        if wanted:
            raise Rejected(
                f"disk template {template} has no secondary nodes",
                "give one node with -n, or -t mirror",
            )
        return ()
    if not wanted:
        return (allocation.most_free(cluster, hypervisor, 0, disk, but={primary.uuid}),)
    nodes = [cluster.node(name) for name in wanted]
    having = [primary.uuid, *(node.uuid for node in nodes)]
    if len(set(having)) < len(having):
        raise Rejected(
            "a node is named twice: each replica is on a node of its own",
            "such as -n node1:node2",
        )
    if len(having) > MOST_COPIES:
        raise Rejected(f"a disk has at most {MOST_COPIES} replicas, not {len(having)}")
    for node in nodes:
        takes(cluster, node, disk, "keep a replica")
    return tuple(nodes)


def takes(cluster: Snapshot, node: Node, disk: int, purpose: str) -> None:
    """The node can have replicas of ``disk`` MiB in all, or Rejected."""
    checks.node_usable(cluster, node, f"{purpose} on it")
    if node.drained or not node.vm_capable:
        what = "drained" if node.drained else "not vm_capable"
        raise Rejected(
            f"node {node.name} is {what} and takes no replica",
            "choose another node, or change it with gnt-node modify",
            reason=Reason.STATE,
            node=node.name,
        )
    checks.disk_fits(cluster, node, disk, "the replica")


def free_for_copy(
    cluster: Snapshot, hypervisor: HypervisorName, having: Collection[Uuid], disk: int
) -> Node:
    """The most free node that has none of it yet; Rejected."""
    return allocation.most_free(cluster, hypervisor, 0, disk, but=having)
