"""Which nodes are master candidates: keeping the pool as full as it can be. Pure.

``without`` is a node that does not count: it is leaving, or is decided upon by itself.
"""

from __future__ import annotations

from gantry.model.entities import Node
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.operations.steps import checks


def others(cluster: Snapshot, without: Uuid | None = None) -> list[Node]:
    """The candidates."""
    return [
        node for node in cluster.nodes.values() if node.master_candidate and node.uuid != without
    ]


def has_room(cluster: Snapshot, without: Uuid | None = None) -> bool:
    """Whether the pool takes one more."""
    return len(others(cluster, without)) < cluster.cluster.candidate_pool_size


def promotable(
    cluster: Snapshot, without: Uuid | None = None, size: int | None = None
) -> list[Node]:
    """The nodes that would fill the pool up, those that answer first, then by name.

    ``size`` is the pool's, where it is about to change.
    """
    wanted = cluster.cluster.candidate_pool_size if size is None else size
    missing = max(0, wanted - len(others(cluster, without)))
    able = [
        node
        for node in cluster.nodes.values()
        if node.master_capable
        and not (node.master_candidate or node.offline or node.drained)
        and node.uuid != without
    ]
    able.sort(key=lambda node: (not cluster.node_live(node.uuid).reachable, node.name))
    return able[:missing]


def promoted(
    cluster: Snapshot, now: float, without: Uuid | None = None, size: int | None = None
) -> tuple[Node, ...]:
    """The same nodes as candidates."""
    return tuple(
        checks.changed(node, now, master_candidate=True)
        for node in promotable(cluster, without, size)
    )


def words(nodes: tuple[Node, ...]) -> str:
    """For the job's log."""
    return "promoted to master candidate: " + ", ".join(node.name for node in nodes)
