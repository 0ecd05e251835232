"""A further replica of a disk: ``gnt-instance add-mirror``."""

from __future__ import annotations

from typing import ClassVar

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model.entities import Instance, Mirror, Node
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.replicas import ReplicaAdded
from gantry.model.snapshot import Claim, Snapshot
from gantry.operations.base import Given, Operation, Plan
from gantry.operations.steps import checks, disks, mirroring, mirrors, moving, placing
from gantry.operations.steps.mirrors import SYNCING, Copy, MirroredDisk, Mirroring
from gantry.ports.steps import Outcome, Steps


class AddMirrorPlan(Plan, frozen=True, kw_only=True):
    """``copy`` is the replica to be made."""

    before: Instance
    after: Instance
    mirroring: Mirroring
    disk: MirroredDisk
    copy: Copy
    running: bool


class InstanceAddMirror(Operation[AddMirrorPlan], frozen=True, kw_only=True):
    """While the guest runs it is copied at once; else by the next start."""

    opcode: ClassVar[str] = "OP_INSTANCE_ADD_MDDRBD"
    plan_type: ClassVar[type[Plan]] = AddMirrorPlan

    instance_name: str
    instance_uuid: str | None = None
    disk_name: str | int
    remote_node: str

    def summary(self) -> str:
        return f"INSTANCE_ADD_MDDRBD({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        return moving.needs(cluster, cluster.instance(self.instance_name), self.remote_node)

    def check(self, cluster: Snapshot, given: Given) -> AddMirrorPlan:
        before = cluster.instance(self.instance_name)
        purpose = f"add a replica to instance {before.name}"
        whole = mirrors.required(cluster, before, purpose)
        index = disks.index(before, self.disk_name)
        disk = before.disks[index]
        node = cluster.node(self.remote_node)
        records = mirrors.records(cluster, before)
        record = cluster.mirrors[disk.uuid]
        _new(before, index, node, record)
        checks.node_usable(cluster, cluster.nodes[before.primary_node], purpose)
        placing.takes(cluster, node, disk.size, "keep a replica")
        change = ReplicaAdded(disk=disk.uuid, node=node.uuid, state=SYNCING)
        others = mirrors.secondaries(before, records, change)
        return AddMirrorPlan(
            before=before,
            after=checks.changed(before, given.now, secondary_nodes=others),
            mirroring=whole,
            disk=whole.disks[index],
            copy=Copy(
                node=node.uuid,
                name=node.name,
                host=node.secondary_ip,
                number=record.next_number,
                state=SYNCING,
                there=True,
            ),
            running=checks.running(cluster, before),
            claims=(Claim(node=node.uuid, disk=disk.size),),
        )

    def subject(self, plan: AddMirrorPlan, cluster: Snapshot) -> Subject:
        return Subject(
            kind=SubjectKind.INSTANCE,
            instance=cluster.instances[plan.before.uuid],
            values={
                "NEW_SECONDARY": plan.copy.name,
                "DISK_NAME": disks.drive(plan.disk.disk.index),
            },
            extra_nodes=(plan.copy.node,),
        )

    async def run(self, plan: AddMirrorPlan, steps: Steps) -> Outcome:
        one, copy = plan.disk, plan.copy
        name = disks.drive(one.disk.index)
        steps.log(f"making replica {copy.number} of disk {name} on node {copy.name}")
        await mirroring.make_copy(
            steps, plan.mirroring, plan.before, one, copy, running=plan.running
        )
        if plan.running:
            steps.log(
                f"it is copied now; gnt-instance info {plan.before.name} shows how far that is"
            )
        else:
            steps.log("it is copied when the instance is started")
        added = ReplicaAdded(disk=one.disk.uuid, node=copy.node, state=SYNCING)
        return Outcome(put=(plan.after,), mirrors=(added,), result=copy.number)


def _new(before: Instance, index: int, node: Node, record: Mirror) -> None:
    """The node has no replica of the disk, and it may have one more; or Rejected."""
    found = record.replicas.get(node.uuid)
    if found is not None:
        what = "the primary's" if node.uuid == before.primary_node else f"{found.state}"
        raise Rejected(
            f"node {node.name} already has a replica of disk {index} of {before.name}: "
            f"number {found.number}, {what}",
            "each replica is on a node of its own: name another node; one that is stale is "
            f"mirrored anew with gnt-instance sync-disks {before.name}",
            reason=Reason.EXISTS,
            node=node.name,
            object_name=before.name,
        )
    if len(record.replicas) >= placing.MOST_COPIES:
        raise Rejected(f"a disk has at most {placing.MOST_COPIES} replicas")
