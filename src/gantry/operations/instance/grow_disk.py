"""Make a disk larger, also while the guest runs: ``gnt-instance grow-disk``."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import sizes, timeouts
from gantry.model.disk_orders import DiskGrow, ReadDisks
from gantry.model.entities import DiskTemplate, Instance
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.names import Uuid
from gantry.model.snapshot import Claim, Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import checks, disks, growing, specs
from gantry.operations.steps.growing import Growth
from gantry.ports.steps import Outcome, Steps

_SEEN: Final = "the guest sees it now; its file system is grown from within"


class GrowPlan(Plan, frozen=True, kw_only=True):
    """``after`` is the instance with the larger disk; ``more`` what it gained, in MiB."""

    before: Instance
    after: Instance
    index: int
    more: int
    running: bool
    mirrored: Growth | None = None


class InstanceGrowDisk(Operation[GrowPlan], frozen=True, kw_only=True):
    """``amount`` (MiB, or text such as ``10G``) is added; with ``absolute`` it is the new size.

    What has grown is not made smaller again: where the job fails after that, the disk is larger
    than its record says, which does no harm, and the next growth puts it right. Of a mirrored
    disk the record comes first, and the same size once more does what was left.
    """

    opcode: ClassVar[str] = "OP_INSTANCE_GROW_DISK"
    plan_type: ClassVar[type[Plan]] = GrowPlan

    instance_name: str
    instance_uuid: str | None = None
    disk: int | str
    amount: int | str
    absolute: bool = False
    wait_for_sync: bool = True
    ignore_ipolicy: bool = False

    def summary(self) -> str:
        return f"INSTANCE_GROW_DISK({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        return checks.instance_locks(cluster.instance(self.instance_name))

    def check(self, cluster: Snapshot, given: Given) -> GrowPlan:
        before = cluster.instance(self.instance_name)
        what = f"grow a disk of instance {before.name}"
        disks.some(before, what)
        if before.disk_template is not DiskTemplate.MIRROR:
            disks.files(before, what)
        at = disks.index(before, self.disk)
        disk = before.disks[at]
        size = self._size(before, at)
        node = cluster.nodes[before.primary_node]
        checks.node_usable(cluster, node, what)
        checks.nowhere_else(cluster, before)
        more = size - disk.size
        larger = disks.with_disk(before, at, msgspec.structs.replace(disk, size=size))
        after = checks.changed(before, given.now, disks=larger)
        mirrored: Growth | None = None
        nodes: tuple[Uuid, ...] = (node.uuid,)
        if before.disk_template is DiskTemplate.MIRROR:
            mirrored = growing.plan(cluster, before, after, at)
            nodes = mirrored.nodes
        elif before.disk_template is DiskTemplate.SHAREDFILE:
            nodes = ()
        for uuid in nodes:
            what = f"disk {at} of instance {before.name}"
            checks.disk_fits(cluster, cluster.nodes[uuid], more, what)
        return GrowPlan(
            before=before,
            after=after,
            index=at,
            more=more,
            running=checks.running(cluster, before),
            mirrored=mirrored,
            claims=tuple(Claim(node=uuid, disk=more) for uuid in nodes),
        )

    async def examine(self, plan: GrowPlan, cluster: Snapshot, ask: Examiner) -> GrowPlan:
        if plan.mirrored is not None:
            await growing.examined(plan.mirrored, ask)
            return plan
        disk = specs.disk(plan.index, plan.before.disks[plan.index])
        question = ReadDisks(disks=(disk,))
        said = await ask.ask(plan.before.primary_node, question, timeouts.URGENT)
        if said.disks[0].size is None:
            raise Rejected(
                f"cannot grow disk {plan.index} of instance {plan.before.name}: "
                f"{said.disks[0].problem}",
                f"gnt-instance recreate-disks {plan.before.name} makes disks that are lost anew, "
                "empty",
                reason=Reason.STATE,
                object_name=plan.before.name,
            )
        return plan

    def subject(self, plan: GrowPlan, cluster: Snapshot) -> Subject:
        amount = plan.after.disks[plan.index].size if self.absolute else plan.more
        return Subject(
            kind=SubjectKind.INSTANCE,
            instance=cluster.instances[plan.before.uuid],
            values={"DISK": plan.index, "AMOUNT": amount, "ABSOLUTE": self.absolute},
        )

    async def run(self, plan: GrowPlan, steps: Steps) -> Outcome:
        size = plan.after.disks[plan.index].size
        steps.log(f"growing disk {plan.index} of {plan.before.name} by {plan.more} MiB to {size}")
        if plan.mirrored is not None:
            error = await growing.grow(steps, plan.mirrored)
            if plan.running and error is None:
                steps.log(_SEEN)
            return Outcome(put=(plan.after,), error=error)
        order = DiskGrow(
            disk=specs.disk(plan.index, plan.before.disks[plan.index]),
            size=size,
            guest=plan.before.uuid,
            hypervisor=plan.before.hypervisor,
        )
        await steps.do(f"grow-disk/{plan.index}", plan.before.primary_node, order)
        if plan.running:
            steps.log(_SEEN)
        return Outcome(put=(plan.after,))

    def _size(self, instance: Instance, at: int) -> int:
        """The new size; Rejected where it is not more."""
        amount = sizes.parse(str(self.amount), "the amount")
        now = instance.disks[at].size
        size = amount if self.absolute else now + amount
        again = self.absolute and instance.disk_template is DiskTemplate.MIRROR
        if size < now or (size == now and not again):
            raise Rejected(
                f"disk {at} of instance {instance.name} has {now} MiB already: it cannot be made "
                "smaller",
                "what lies beyond would be lost; a smaller copy is made from within the guest",
                reason=Reason.STATE if size == now else Reason.INPUT,
                object_name=instance.name,
            )
        return size
