"""Mirror what has fallen behind anew: ``gnt-instance sync-disks``, and by itself."""

from __future__ import annotations

from typing import ClassVar

from gantry.model.entities import Instance
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.replicas import MirrorChange
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given, Operation, Plan
from gantry.operations.steps import checks, mirroring, mirrors
from gantry.operations.steps.mirrors import Copy, MirroredDisk, Mirroring
from gantry.ports.steps import Outcome, Steps


class SyncPlan(Plan, frozen=True, kw_only=True):
    """``mirroring`` has only the replicas that nothing is mirrored to now."""

    instance: Instance
    mirroring: Mirroring


class InstanceSyncDisks(Operation[SyncPlan], frozen=True, kw_only=True):
    """The guest goes on. The copy goes on when the job has ended, until all are in sync."""

    opcode: ClassVar[str] = "OP_INSTANCE_SYNC_DISKS"
    hooked: ClassVar[bool] = False
    plan_type: ClassVar[type[Plan]] = SyncPlan

    instance_name: str
    instance_uuid: str | None = None

    def summary(self) -> str:
        return f"INSTANCE_SYNC_DISKS({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        return checks.instance_locks(cluster.instance(self.instance_name))

    def check(self, cluster: Snapshot, given: Given) -> SyncPlan:
        instance = cluster.instance(self.instance_name)
        purpose = f"mirror the disks of instance {instance.name}"
        whole = mirrors.required(cluster, instance, purpose)
        checks.node_usable(cluster, cluster.nodes[instance.primary_node], purpose)
        if not checks.running(cluster, instance):
            raise Rejected(
                f"cannot {purpose}: it is not running",
                f"its next start does it: gnt-instance startup {instance.name}",
                reason=Reason.STATE,
                object_name=instance.name,
            )
        return SyncPlan(instance=instance, mirroring=_unmirrored(cluster, instance, whole))

    async def run(self, plan: SyncPlan, steps: Steps) -> Outcome:
        found = [(one, copy) for one in plan.mirroring.disks for copy in one.copies]
        if not found:
            steps.log("every replica is in sync, or is being copied")
        changes: list[MirrorChange] = []
        for one, copy in found:
            steps.log(f"disk {one.disk.index} is copied to node {copy.name}")
            failed = await mirroring.mirror_anew(steps, plan.instance, plan.mirroring, one, copy)
            changes += failed
        begun = len(found) - len(changes)
        if begun:
            steps.log(f"gnt-instance info {plan.instance.name} shows how far the copies are")
        if begun or not found:
            return Outcome(mirrors=tuple(changes))
        failure = OperationFailed(
            f"nothing of instance {plan.instance.name} could be mirrored",
            "see the warnings of the job; it is tried again by itself",
            reason=Reason.ENVIRONMENT,
            object_name=plan.instance.name,
        )
        return Outcome(mirrors=tuple(changes), error=failure.info())


def _unmirrored(cluster: Snapshot, instance: Instance, whole: Mirroring) -> Mirroring:
    """What nothing is mirrored to."""
    guest = cluster.guest(instance)

    def behind(one: MirroredDisk, copy: Copy) -> bool:
        return mirrors.live(guest, one.disk.uuid, copy.node) is None

    return mirrors.only(whole, behind)
