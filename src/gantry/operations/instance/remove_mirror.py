"""Take a replica of a disk away: ``gnt-instance remove-mirror``."""

from __future__ import annotations

from typing import ClassVar

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model.entities import Instance, Mirror
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.names import Uuid
from gantry.model.replicas import ReplicaRemoved
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given, Operation, Plan
from gantry.operations.steps import checks, disks, mirroring, mirrors
from gantry.operations.steps.mirrors import IN_SYNC, Copy, MirroredDisk
from gantry.ports.steps import Outcome, Steps


class RemoveMirrorPlan(Plan, frozen=True, kw_only=True):
    """``copy`` is the replica that goes; ``alone``: the primary's is then the only one in sync."""

    before: Instance
    after: Instance
    disk: MirroredDisk
    copy: Copy
    alone: bool


class InstanceRemoveMirror(Operation[RemoveMirrorPlan], frozen=True, kw_only=True):
    """It is no replica from the commit on; then nothing is mirrored there, and the file goes.

    ``force``: also the last one that is in sync, while another is only being made.
    """

    opcode: ClassVar[str] = "OP_INSTANCE_REMOVE_MDDRBD"
    plan_type: ClassVar[type[Plan]] = RemoveMirrorPlan

    instance_name: str
    instance_uuid: str | None = None
    disk_name: str | int
    disk_id: int
    force: bool = False

    def summary(self) -> str:
        return f"INSTANCE_REMOVE_MDDRBD({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        return checks.instance_locks(cluster.instance(self.instance_name))

    def check(self, cluster: Snapshot, given: Given) -> RemoveMirrorPlan:
        before = cluster.instance(self.instance_name)
        whole = mirrors.required(cluster, before, f"take a replica of {before.name} away")
        index = disks.index(before, self.disk_name)
        disk = before.disks[index]
        node = self._node(cluster, before, index, cluster.mirrors[disk.uuid])
        one = whole.disks[index]
        [copy] = [copy for copy in one.copies if copy.node == node]
        left = [other for other in one.copies if other.node != node]
        alone = not any(other.state is IN_SYNC for other in left)
        if alone and left and copy.state is IN_SYNC and not self.force:
            rest = ", ".join(f"{other.name} is {other.state}" for other in left)
            raise Rejected(
                f"the replica on node {copy.name} is the only one in sync beside the primary's "
                f"({rest})",
                f"wait until another one is (gnt-instance info {before.name}), or give --force",
                reason=Reason.STATE,
                node=copy.name,
                object_name=before.name,
            )
        change = ReplicaRemoved(disk=disk.uuid, node=node)
        others = mirrors.secondaries(before, mirrors.records(cluster, before), change)
        return RemoveMirrorPlan(
            before=before,
            after=checks.changed(before, given.now, secondary_nodes=others),
            disk=one,
            copy=copy,
            alone=alone,
        )

    def _node(self, cluster: Snapshot, instance: Instance, index: int, mirror: Mirror) -> Uuid:
        having = {replica.number: node for node, replica in mirror.replicas.items()}
        node = having.get(self.disk_id)
        if node is None:
            known = ", ".join(
                f"{number} on {cluster.nodes[uuid].name}" for number, uuid in sorted(having.items())
            )
            raise Rejected(
                f"disk {index} of {instance.name} has no replica {self.disk_id}",
                f"it has {known}; gnt-instance info {instance.name} shows them",
                reason=Reason.UNKNOWN,
                object_name=instance.name,
            )
        if node == instance.primary_node:
            raise Rejected(
                f"replica {self.disk_id} is the primary's: the guest runs with it",
                f"gnt-instance failover or migrate {instance.name} first makes another one that",
                reason=Reason.STATE,
                object_name=instance.name,
            )
        return node

    def subject(self, plan: RemoveMirrorPlan, cluster: Snapshot) -> Subject:
        return Subject(
            kind=SubjectKind.INSTANCE,
            instance=cluster.instances[plan.before.uuid],
            values={
                "OLD_SECONDARY": plan.copy.name,
                "DISK_NAME": disks.drive(plan.disk.disk.index),
                "DISK_ID": plan.copy.number,
            },
        )

    async def run(self, plan: RemoveMirrorPlan, steps: Steps) -> Outcome:
        name = disks.drive(plan.disk.disk.index)
        steps.log(f"taking replica {plan.copy.number} of disk {name} on {plan.copy.name} away")
        if plan.alone:
            steps.warn("the primary's replica is now the only one that is in sync")
        if not plan.copy.there:
            steps.warn("its node does not answer: the file there goes when it is back")
        return Outcome(
            put=(plan.after,),
            mirrors=(ReplicaRemoved(disk=plan.disk.disk.uuid, node=plan.copy.node),),
            cleanup=mirroring.leaving(plan.before, plan.disk, plan.copy),
        )
