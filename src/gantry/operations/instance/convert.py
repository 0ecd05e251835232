"""Files become mirrored disks and the other way round: ``gnt-instance modify -t``."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import timeouts
from gantry.model.disk_orders import DiskConvert
from gantry.model.entities import DiskFormat, DiskTemplate, Instance, Mirror, Node
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.orders import DiskSpec
from gantry.model.replica_orders import ReplicaMark
from gantry.model.replicas import ReplicaBecame
from gantry.model.snapshot import Claim, Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import checks, mirroring, mirrors, moving, placing, requests, specs
from gantry.operations.steps.mirrors import IN_SYNC, STALE, Mirroring
from gantry.ports.steps import Changes, Outcome, Steps

FILE, MIRROR = DiskTemplate.FILE, DiskTemplate.MIRROR


class ConvertPlan(Plan, frozen=True, kw_only=True):
    """``mirroring`` is that of the mirrored instance, whether it was or will be one."""

    before: Instance
    after: Instance
    mirroring: Mirroring
    records: tuple[Mirror, ...]
    running: bool = False


class InstanceConvert(Operation[ConvertPlan], frozen=True, kw_only=True):
    """OP_INSTANCE_SET_PARAMS with another ``disk_template``, also while the guest runs.

    The files stay where they are; ``remote_node`` and ``remote_nodes`` are the secondaries.
    """

    opcode: ClassVar[str] = "OP_INSTANCE_SET_PARAMS"
    plan_type: ClassVar[type[Plan]] = ConvertPlan

    instance_name: str
    disk_template: str
    instance_uuid: str | None = None
    remote_node: str | None = None
    remote_nodes: tuple[str, ...] = ()
    wait_for_sync: bool = True
    ignore_ipolicy: bool = False

    def summary(self) -> str:
        return f"INSTANCE_SET_PARAMS({self.instance_name})"

    @property
    def _wanted(self) -> tuple[str, ...]:
        return (*((self.remote_node,) if self.remote_node else ()), *self.remote_nodes)

    def needs(self, cluster: Snapshot) -> Needs:
        instance = cluster.instance(self.instance_name)
        if self.disk_template != MIRROR:
            return checks.instance_locks(instance)
        return moving.needs(cluster, instance, self.remote_node if not self.remote_nodes else None)

    def check(self, cluster: Snapshot, given: Given) -> ConvertPlan:
        before = cluster.instance(self.instance_name)
        purpose = f"change the disk template of instance {before.name}"
        template = requests.template(self.disk_template, cluster.cluster)
        self._possible(before, template)
        primary = cluster.nodes[before.primary_node]
        checks.node_usable(cluster, primary, purpose)
        running = checks.running(cluster, before)
        if running:
            checks.nowhere_else(cluster, before)
        else:
            checks.stopped(cluster, before, purpose)
        others = self._secondaries(cluster, before, template, primary)
        disks = tuple(
            msgspec.structs.replace(
                disk, template=template, generation=1 if template is MIRROR else 0
            )
            for disk in before.disks
        )
        after = checks.changed(
            before,
            given.now,
            disk_template=template,
            disks=disks,
            secondary_nodes=tuple(node.uuid for node in others),
        )
        whole = mirrors.of(cluster, before)
        records = mirrors.records(cluster, before)
        if template is MIRROR:
            made = [mirrors.made(after, disk, copied=False, now=given.now) for disk in disks]
            placed = cluster.with_changes(cluster.revision, [after, *made])
            whole, records = mirrors.of(placed, after), tuple(made)
        assert whole is not None
        size = sum(disk.size for disk in disks)
        return ConvertPlan(
            before=before,
            after=after,
            mirroring=whole,
            records=records,
            running=running,
            claims=tuple(Claim(node=node.uuid, disk=size) for node in others),
        )

    def _possible(self, before: Instance, template: DiskTemplate) -> None:
        if template is before.disk_template:
            raise Rejected(
                f"nothing to change: the disks of {before.name} are of template {template}",
                reason=Reason.STATE,
            )
        if {before.disk_template, template} != {FILE, MIRROR}:
            raise Rejected(
                f"disks of template {before.disk_template} cannot become {template}",
                "file can become mirror, and mirror file; of others: gnt-backup export, import",
                reason=Reason.STATE,
                object_name=before.name,
            )
        if template is FILE and self._wanted:
            raise Rejected("disks of template file have no secondary node", "leave -n out")
        if any(disk.format is not DiskFormat.RAW for disk in before.disks):
            raise Rejected(
                f"a disk of {before.name} is qcow2, and mirrored ones are raw",
                "gnt-backup export, then import with --disk 0:format=raw",
                reason=Reason.STATE,
                object_name=before.name,
            )

    def _secondaries(
        self, cluster: Snapshot, before: Instance, template: DiskTemplate, primary: Node
    ) -> tuple[Node, ...]:
        size = sum(disk.size for disk in before.disks)
        return placing.secondaries(
            cluster, template, before.hypervisor, primary, self._wanted, size
        )

    async def examine(self, plan: ConvertPlan, cluster: Snapshot, ask: Examiner) -> ConvertPlan:
        if plan.before.disk_template is MIRROR:
            purpose = f"keep the primary's replicas of {plan.before.name} as files"
            await mirrors.examined(plan.mirroring, plan.before, ask, purpose)
        return plan

    def subject(self, plan: ConvertPlan, cluster: Snapshot) -> Subject:
        return Subject(
            kind=SubjectKind.INSTANCE,
            instance=cluster.instances[plan.before.uuid],
            values={"NEW_DISK_TEMPLATE": plan.after.disk_template.value},
        )

    async def run(self, plan: ConvertPlan, steps: Steps) -> Outcome:
        told: list[list[Any]] = [["disk_template", plan.after.disk_template.value]]
        if plan.after.disk_template is FILE:
            steps.log("the primary's replicas stay as files, the others go")
            if plan.running:
                await _converted(plan, steps, first=_stale(plan))
            cleanup = (*mirroring.closing(plan.mirroring), *mirroring.removing(plan.mirroring))
            return Outcome(put=(plan.after,), delete=plan.records, cleanup=cleanup, result=told)
        await mirroring.create_copies(steps, plan.mirroring)
        if plan.running:
            await _mirrored(plan, steps)
            name = plan.before.name
            steps.log(
                f"the replicas are copied now; gnt-instance info {name} shows how far that is"
            )
        else:
            await _marked(plan, steps)
            steps.log("the replicas are copied when the instance is started")
        return Outcome(put=(plan.after, *plan.records), result=told)


async def _marked(plan: ConvertPlan, steps: Steps) -> None:
    """The files are known as the primary's replicas, which harms no file."""
    for disk in specs.disks(plan.after):
        mark = ReplicaMark(disk=disk, generation=0, state=IN_SYNC, force=True)
        await steps.do(f"mark-replica/{disk.index}", plan.after.primary_node, mark)


async def _mirrored(plan: ConvertPlan, steps: Steps) -> None:
    """The same under the guest; then all is copied, and what it writes meanwhile."""
    await _converted(plan, steps)
    for one in plan.mirroring.disks:
        for copy in one.copies:
            target = await mirroring.serve_new(steps, plan.mirroring, one, copy)
            await mirroring.attach(steps, plan.before, one, target)


async def _converted(plan: ConvertPlan, steps: Steps, first: Changes | None = None) -> None:
    """The guest has its disks as those of the other template, mirrored to nobody."""
    both = zip(specs.disks(plan.before), specs.disks(plan.after), strict=True)
    for before, after in both:
        await steps.do(
            f"convert-disk/{after.index}",
            plan.before.primary_node,
            _of(plan, after),
            undo=_of(plan, before),
            first=first,
            timeout=timeouts.URGENT,
        )
        first = None


def _of(plan: ConvertPlan, disk: DiskSpec) -> DiskConvert:
    return DiskConvert(disk=disk, guest=plan.before.uuid, hypervisor=plan.before.hypervisor)


def _stale(plan: ConvertPlan) -> Changes:
    """Nobody counts on the other replicas, so that the guest may write without them.

    Where they are kept after all, they are copied anew.
    """
    changes = [
        ReplicaBecame(disk=one.disk.uuid, node=copy.node, state=STALE)
        for one in plan.mirroring.disks
        for copy in one.copies
    ]
    return Changes(mirrors=tuple(changes))
