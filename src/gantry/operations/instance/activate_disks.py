"""Make an instance's disks usable on its node: ``gnt-instance activate-disks``."""

from __future__ import annotations

from typing import ClassVar

from gantry.model import timeouts
from gantry.model.disk_orders import ReadDisks
from gantry.model.entities import Instance
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import checks, disks, specs
from gantry.ports.steps import Outcome, Steps

_MIB = 1024 * 1024


class ActivatePlan(Plan, frozen=True, kw_only=True):
    """``node`` is the name of the node that they are on."""

    instance: Instance
    node: str


class InstanceActivateDisks(Operation[ActivatePlan], frozen=True, kw_only=True):
    """Disks that are files need nothing to be done: they are looked at, with their sizes.

    The result has ``[node, "disk/0", path]`` for each. ``ignore_size``: another size than the
    record's is a warning.
    """

    opcode: ClassVar[str] = "OP_INSTANCE_ACTIVATE_DISKS"
    hooked: ClassVar[bool] = False
    plan_type: ClassVar[type[Plan]] = ActivatePlan

    instance_name: str
    instance_uuid: str | None = None
    ignore_size: bool = False
    wait_for_sync: bool = False

    def summary(self) -> str:
        return f"INSTANCE_ACTIVATE_DISKS({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        return checks.instance_locks(cluster.instance(self.instance_name))

    def check(self, cluster: Snapshot, given: Given) -> ActivatePlan:
        instance = cluster.instance(self.instance_name)
        what = f"activate disks of instance {instance.name}"
        if instance.disks:
            disks.files(instance, what)
        node = cluster.nodes[instance.primary_node]
        checks.node_usable(cluster, node, what)
        return ActivatePlan(instance=instance, node=node.name)

    async def examine(self, plan: ActivatePlan, cluster: Snapshot, ask: Examiner) -> ActivatePlan:
        wanted = specs.disks(plan.instance)
        said = await ask.ask(plan.instance.primary_node, ReadDisks(disks=wanted), timeouts.URGENT)
        for disk, seen in zip(wanted, said.disks, strict=True):
            why = seen.problem
            if seen.size is not None and seen.size != disk.size * _MIB:
                why = f"it has {seen.size // _MIB} MiB, and its record says {disk.size}"
                if self.ignore_size:
                    ask.warn(f"disk {disk.index}: {why}")
                    continue
            if why:
                raise Rejected(
                    f"disk {disk.index} of instance {plan.instance.name} cannot be used: {why}",
                    "a disk that is lost: gnt-instance recreate-disks; one of another size: "
                    "--ignore-size",
                    reason=Reason.STATE,
                    node=plan.node,
                    object_name=plan.instance.name,
                )
        return plan

    async def run(self, plan: ActivatePlan, steps: Steps) -> Outcome:
        found = [
            [plan.node, f"disk/{at}", disk.path] for at, disk in enumerate(plan.instance.disks)
        ]
        return Outcome(result=found)
