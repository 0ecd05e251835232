"""The opposite of activating them: ``gnt-instance deactivate-disks``."""

from __future__ import annotations

from typing import ClassVar

from gantry.model.entities import Instance
from gantry.model.locks import Needs
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given, Operation, Plan
from gantry.operations.steps import checks, disks, mirroring, mirrors
from gantry.operations.steps.mirrors import Mirroring
from gantry.ports.steps import Outcome, Steps


class DeactivatePlan(Plan, frozen=True, kw_only=True):
    """``mirroring`` is None where there is nothing to do."""

    instance: Instance
    mirroring: Mirroring | None = None


class InstanceDeactivateDisks(Operation[DeactivatePlan], frozen=True, kw_only=True):
    """Refused while the guest runs, unless ``force``; for files there is nothing to do."""

    opcode: ClassVar[str] = "OP_INSTANCE_DEACTIVATE_DISKS"
    hooked: ClassVar[bool] = False
    plan_type: ClassVar[type[Plan]] = DeactivatePlan

    instance_name: str
    instance_uuid: str | None = None
    force: bool = False

    def summary(self) -> str:
        return f"INSTANCE_DEACTIVATE_DISKS({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        return checks.instance_locks(cluster.instance(self.instance_name))

    def check(self, cluster: Snapshot, given: Given) -> DeactivatePlan:
        instance = cluster.instance(self.instance_name)
        what = f"deactivate disks of instance {instance.name}"
        whole = mirrors.of(cluster, instance)
        if whole is not None:
            checks.node_usable(cluster, cluster.nodes[instance.primary_node], what)
            if not whole.active:
                checks.stopped(cluster, instance, what)
            return DeactivatePlan(instance=instance, mirroring=whole)
        if instance.disks:
            disks.files(instance, what)
        if not self.force:
            node = cluster.nodes[instance.primary_node]
            checks.node_usable(cluster, node, what)
            checks.stopped(cluster, instance, what)
        return DeactivatePlan(instance=instance)

    async def run(self, plan: DeactivatePlan, steps: Steps) -> Outcome:
        if plan.mirroring is not None:
            await mirroring.deactivate(steps, plan.instance.uuid, plan.instance.primary_node)
            await mirroring.close_all(steps, plan.mirroring)
            return Outcome()
        steps.log("disks that are files have nothing to be taken back")
        return Outcome()
