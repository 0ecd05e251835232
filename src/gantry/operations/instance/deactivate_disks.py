"""The opposite of activating them: ``gnt-instance deactivate-disks``."""

from __future__ import annotations

from typing import ClassVar

from gantry.model.locks import Needs
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given, Operation, Plan
from gantry.operations.steps import checks, disks
from gantry.ports.steps import Outcome, Steps


class InstanceDeactivateDisks(Operation[Plan], frozen=True, kw_only=True):
    """Refused while the guest runs, unless ``force``; for files there is nothing to do."""

    opcode: ClassVar[str] = "OP_INSTANCE_DEACTIVATE_DISKS"
    hooked: ClassVar[bool] = False

    instance_name: str
    instance_uuid: str | None = None
    force: bool = False

    def summary(self) -> str:
        return f"INSTANCE_DEACTIVATE_DISKS({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        return checks.instance_locks(cluster.instance(self.instance_name))

    def check(self, cluster: Snapshot, given: Given) -> Plan:
        instance = cluster.instance(self.instance_name)
        what = f"deactivate disks of instance {instance.name}"
        if instance.disks:
            disks.files(instance, what)
        if not self.force:
            node = cluster.nodes[instance.primary_node]
            checks.node_usable(cluster, node, what)
            checks.stopped(cluster, instance, what)
        return Plan()

    async def run(self, plan: Plan, steps: Steps) -> Outcome:
        steps.log("disks that are files have nothing to be taken back")
        return Outcome()
