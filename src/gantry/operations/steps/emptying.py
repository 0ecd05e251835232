"""Which jobs bring all instances of a node elsewhere, each by the way that suits it. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from gantry.model.entities import AdminState, DiskTemplate, Instance, Node
from gantry.model.errors import Reason, Rejected
from gantry.model.parameters import memory
from gantry.model.snapshot import Claim, Snapshot
from gantry.operations.steps import checks, death, moving, placing, promotion
from gantry.ports.steps import Outcome, Steps

Job = tuple[dict[str, Any], ...]


class Jobs(msgspec.Struct, frozen=True, kw_only=True):
    """``problems`` say of which instances nothing can be done, and why."""

    jobs: tuple[Job, ...]
    problems: tuple[str, ...] = ()


def primary(cluster: Snapshot, node: Node, wanted: str | None, how: dict[str, Any]) -> Jobs:
    """One job for each instance whose primary node it is; ``how`` are fields of its migration.

    Where the node is dead, which must be proven, they are failed over. ``wanted`` is the node
    that all go to, if it is one. One that cannot go holds up no other.
    """
    target = cluster.node(wanted).uuid if wanted else None
    found: list[Job] = []
    problems: list[str] = []
    for instance in sorted(cluster.instances_of(node.uuid), key=lambda one: one.name):
        try:
            job = _one(cluster, node, instance, wanted, how)
            there = _target(cluster, instance, wanted)
        except Rejected as error:
            problems.append(f"{error.message} ({error.hint})" if error.hint else error.message)
            continue
        if job["OP_ID"] == "OP_INSTANCE_MOVE":
            job["target_node"] = there.name
        elif target is not None:
            job["target_node"] = wanted
        found.append((job,))
        # The next one must not count on the same room.
        claim = Claim(node=there.uuid, memory=_memory(cluster, instance), disk=_disk(instance))
        cluster = msgspec.structs.replace(cluster, claims=(*cluster.claims, claim))
    return Jobs(jobs=tuple(found), problems=tuple(problems))


def secondary(cluster: Snapshot, node: Node, wanted: str | None) -> Jobs:
    """One job for each instance that has replicas there: they are made on another node, and go
    when those are in sync.
    """
    found: list[Job] = []
    problems: list[str] = []
    for instance in sorted(cluster.instances.values(), key=lambda one: one.name):
        if node.uuid not in instance.secondary_nodes:
            continue
        size = sum(disk.size for disk in instance.disks)
        try:
            new = (
                wanted
                or placing.free_for_copy(
                    cluster, instance.hypervisor, checks.all_nodes(instance), size
                ).name
            )
            there = cluster.node(new)
        except Rejected as error:
            problems.append(f"{instance.name}: {error.message}")
            continue
        job = {
            "OP_ID": "OP_INSTANCE_REPLACE_DISKS",
            "instance_name": instance.name,
            "mode": "replace_new_secondary",
            "remote_node": new,
            "old_node": node.name,
        }
        found.append((job,))
        claim = Claim(node=there.uuid, disk=size)
        cluster = msgspec.structs.replace(cluster, claims=(*cluster.claims, claim))
    return Jobs(jobs=tuple(found), problems=tuple(problems))


def _target(cluster: Snapshot, instance: Instance, wanted: str | None) -> Node:
    needed = _memory(cluster, instance)
    if instance.disk_template is DiskTemplate.MIRROR:
        return promotion.target(cluster, instance, wanted, memory=needed, ignore_consistency=False)
    return moving.target(cluster, instance, wanted, memory=needed, disk=_disk(instance))


def _one(
    cluster: Snapshot, node: Node, instance: Instance, wanted: str | None, how: dict[str, Any]
) -> dict[str, Any]:
    name = instance.name
    alive = cluster.node_live(node.uuid).reachable and not node.offline
    if not alive:
        death.proven(cluster, instance, node, f"start instance {name} elsewhere")
        if not moving.shared(instance) and instance.disk_template is not DiskTemplate.MIRROR:
            raise Rejected(
                f"instance {name} cannot go: its disks (template {instance.disk_template}) are on "
                f"node {node.name} alone",
                "gnt-backup import makes it anew from an export",
                reason=Reason.STATE,
            )
        return {"OP_ID": "OP_INSTANCE_FAILOVER", "instance_name": name}
    if checks.running(cluster, instance):
        return {"OP_ID": "OP_INSTANCE_MIGRATE", "instance_name": name, **how}
    if instance.disk_template is DiskTemplate.FILE:
        return {"OP_ID": "OP_INSTANCE_MOVE", "instance_name": name}
    return {"OP_ID": "OP_INSTANCE_FAILOVER", "instance_name": name}


def _memory(cluster: Snapshot, instance: Instance) -> int:
    up = instance.admin_state is AdminState.UP or checks.running(cluster, instance)
    return memory(cluster.cluster, instance) if up else 0


def _disk(instance: Instance) -> int:
    own = instance.disk_template is DiskTemplate.FILE
    return sum(disk.size for disk in instance.disks) if own else 0


def submitted(node: Node, found: Jobs, steps: Steps) -> Outcome:
    """The jobs, to be submitted with the commit; what cannot go is said."""
    for problem in found.problems:
        steps.warn(problem)
    if found.jobs:
        steps.log(f"bringing {len(found.jobs)} instances of node {node.name} elsewhere")
    elif not found.problems:
        steps.log(f"node {node.name} has no instances")
    refused = [[False, problem] for problem in found.problems]
    return Outcome(jobs=found.jobs, result={"jobs": refused})
