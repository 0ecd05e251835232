"""The replica on the primary node made anew, from another one that is in sync. Pure.

The other node is the instance's for as long as that takes: so what is copied is what a replica
in sync has, the guest goes on where it can, and at every moment all is as after a migration or a
failover. It is one job of operations that exist: each is done whole or not at all, and where one
fails the instance stays where it is by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gantry.model.entities import AdminState, Instance, Node
from gantry.model.parameters import memory
from gantry.model.snapshot import Snapshot
from gantry.operations.steps import checks, promotion

Operations = tuple[dict[str, Any], ...]


def helper(cluster: Snapshot, instance: Instance) -> Node:
    """The node whose replicas are copied; Rejected where none has them all in sync."""
    runs = checks.running(cluster, instance) or instance.admin_state is AdminState.UP
    wanted = memory(cluster.cluster, instance) if runs else 0
    return promotion.target(cluster, instance, None, memory=wanted, ignore_consistency=False)


def operations(
    cluster: Snapshot, instance: Instance, other: Node, disks: Sequence[int]
) -> Operations:
    """There, made anew and copied, and back; of an instance that is down with its disks active."""
    home = cluster.nodes[instance.primary_node]
    running = checks.running(cluster, instance)
    anew = {
        **_of(instance, "REPLACE_DISKS"),
        "mode": "replace_on_secondary",
        "old_node": home.name,
        "disks": list(disks),
        "wait_for_sync": True,
    }
    if running or instance.admin_state is AdminState.UP:
        there = {**_of(instance, "MIGRATE" if running else "FAILOVER"), "target_node": other.name}
        return there, anew, {**_of(instance, "MIGRATE"), "target_node": home.name}
    return (
        {**_of(instance, "FAILOVER"), "target_node": other.name},
        anew,
        {**_of(instance, "ACTIVATE_DISKS"), "wait_for_sync": True},
        _of(instance, "DEACTIVATE_DISKS"),
        {**_of(instance, "FAILOVER"), "target_node": home.name},
    )


def _of(instance: Instance, code: str) -> dict[str, Any]:
    return {"OP_ID": f"OP_INSTANCE_{code}", "instance_name": instance.name}
