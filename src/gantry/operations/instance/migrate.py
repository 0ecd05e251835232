"""Bring a running instance to another node without stopping it: ``gnt-instance migrate``.

The undo entries are in such an order that whatever ends the job, and whoever takes it back, at
most one guest runs, and never one whose memory is older than its disks (docs/adr/0014):

* before the target was told to resume, the source takes its guest back, and the target's ends;
* from then on the target's may have run: the source's is ended first, then the target's, and
  only when that is certain the source starts the instance anew.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import timeouts
from gantry.model.entities import DiskTemplate, Instance, Node
from gantry.model.errors import Cancelled, GantryError, Rejected
from gantry.model.locks import Needs
from gantry.model.moving_orders import (
    Described,
    GuestDescribe,
    GuestDrop,
    GuestReceive,
    GuestResume,
    GuestSend,
    GuestTakeBack,
    Ports,
    Sent,
)
from gantry.model.orders import DiskCreate, DiskRemove, DiskSpec, GuestSpec, GuestStop
from gantry.model.parameters import hypervisor_parameters
from gantry.model.replica_orders import ReplicaClose
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.instance.failover import FailoverPlan, InstanceFailover
from gantry.operations.steps import (
    checks,
    migrating,
    moving,
    promotion,
    specs,
    succession,
    transfer,
    whereabouts,
)
from gantry.operations.steps.promotion import Promotion
from gantry.ports.steps import Outcome, Steps, Undo

_MARGIN = 60.0
"""Seconds for what an agent does before and after it sends."""


class MigratePlan(Plan, frozen=True, kw_only=True):
    """``instead``: it is failed over. ``found``: nothing moves, its guest runs on ``target``.

    ``disks`` are the indexes of those that go with it; ``lasts`` is in seconds. ``emulated``:
    that is why it is not sent as it runs, though nobody has said so. ``promotion`` is what becomes
    of mirrored disks.
    """

    instance: Instance
    source: Node
    target: Node
    spec: GuestSpec | None = None
    live: bool = True
    emulated: bool = False
    disks: tuple[int, ...] = ()
    downtime: int = 100
    bandwidth: int = 0
    lasts: float = timeouts.MIGRATION
    promotion: Promotion | None = None
    instead: FailoverPlan | None = None
    found: bool = False


class InstanceMigrate(Operation[MigratePlan], frozen=True, kw_only=True):
    """``live=False`` (or mode ``non-live``) holds the guest still while its memory is sent.

    So it is with emulated guests, unless live is asked for: QEMU then may overlook what such a
    guest writes into a page that is just being sent.

    ``deadline`` (our own) are the seconds after which it is given up; the guest then goes on where
    it is. ``allow_failover``: one that does not run is failed over. ``cleanup``: as of failover.
    """

    opcode: ClassVar[str] = "OP_INSTANCE_MIGRATE"
    plan_type: ClassVar[type[Plan]] = MigratePlan

    instance_name: str
    instance_uuid: str | None = None
    mode: str | None = None
    live: bool | None = None
    target_node: str | None = None
    target_node_uuid: str | None = None
    allow_runtime_changes: bool = True
    ignore_ipolicy: bool = False
    cleanup: bool = False
    iallocator: str | None = None
    allow_failover: bool = False
    ignore_hvversions: bool = False
    deadline: int | None = None

    def summary(self) -> str:
        return f"INSTANCE_MIGRATE({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        wanted = None if self.cleanup else self.target_node
        return moving.needs(cluster, cluster.instance(self.instance_name), wanted)

    def check(self, cluster: Snapshot, given: Given) -> MigratePlan:
        moving.no_allocator(self.iallocator)
        instance = cluster.instance(self.instance_name)
        source = cluster.nodes[instance.primary_node]
        if self.cleanup:
            node = whereabouts.found(cluster, instance)
            return MigratePlan(instance=instance, source=source, target=node, found=True)
        asked, live = self._live(cluster, instance)
        emulated = live and not asked and migrating.emulated(cluster, instance)
        if self.allow_failover and not checks.running(cluster, instance):
            return self._instead(cluster, given)
        purpose = f"migrate instance {instance.name}"
        checks.node_usable(cluster, source, purpose)
        checks.nowhere_else(cluster, instance)
        memory = migrating.running(cluster, instance)
        disks = migrating.local_disks(instance)
        space = sum(instance.disks[index].size for index in disks)
        target, promoted = self._target(cluster, instance, memory, space, given.now)
        values = hypervisor_parameters(
            cluster.cluster, instance.hypervisor, instance.os, instance.hvparams
        )
        return MigratePlan(
            instance=instance,
            source=source,
            target=target,
            spec=specs.guest(cluster.cluster, instance),
            live=live and not emulated,
            emulated=emulated,
            disks=disks,
            downtime=int(values.get("migration_downtime") or 100),
            bandwidth=int(values.get("migration_bandwidth") or 0),
            lasts=self._lasts(disks),
            promotion=promoted,
            claims=moving.claims(target, memory=memory, disk=space),
        )

    def _target(
        self, cluster: Snapshot, instance: Instance, memory: int, space: int, now: float
    ) -> tuple[Node, Promotion | None]:
        if instance.disk_template is not DiskTemplate.MIRROR:
            wanted = self.target_node
            return moving.target(cluster, instance, wanted, memory=memory, disk=space), None
        target = promotion.target(
            cluster, instance, self.target_node, memory=memory, ignore_consistency=False
        )
        return target, promotion.plan(cluster, instance, target, now, ignore_consistency=False)

    async def examine(self, plan: MigratePlan, cluster: Snapshot, ask: Examiner) -> MigratePlan:
        if plan.promotion is not None:
            await promotion.examined(plan.promotion, plan.target, ask)
        if not plan.found:
            await moving.sees_disks(ask, cluster, plan.instance, plan.target)
        return plan

    def subject(self, plan: MigratePlan, cluster: Snapshot) -> Subject:
        return Subject(
            kind=SubjectKind.INSTANCE,
            instance=cluster.instances[plan.instance.uuid],
            values={
                "MIGRATE_LIVE": plan.live and plan.instead is None,
                "MIGRATE_CLEANUP": self.cleanup,
                "ALLOW_RUNTIME_CHANGES": self.allow_runtime_changes,
                **moving.sides(cluster, plan.instance, plan.target),
            },
            extra_nodes=(plan.target.uuid,),
        )

    async def run(self, plan: MigratePlan, steps: Steps) -> Outcome:
        if plan.instead is not None:
            steps.log(f"instance {plan.instance.name} does not run: it is failed over")
            return await self._failover().run(plan.instead, steps)
        if plan.found:
            return moving.recorded(plan.instance, plan.source, plan.target, steps)
        if plan.promotion is not None:
            return await _mirrored(plan, plan.promotion, steps)
        return await _migrate(plan, steps)

    def _failover(self) -> InstanceFailover:
        return InstanceFailover(instance_name=self.instance_name, target_node=self.target_node)

    def _instead(self, cluster: Snapshot, given: Given) -> MigratePlan:
        plan = self._failover().check(cluster, given)
        return MigratePlan(
            instance=plan.instance,
            source=plan.source,
            target=plan.target,
            instead=plan,
            claims=plan.claims,
        )

    def _live(self, cluster: Snapshot, instance: Instance) -> tuple[bool, bool]:
        """Whether somebody has said how, and whether it goes as it runs."""
        if self.mode is not None and self.live is not None:
            raise Rejected("give mode or live, not both: they say the same")
        if self.mode not in (None, "live", "non-live"):
            raise Rejected(f"mode is live or non-live, not {self.mode!r}")
        if self.live is not None:
            return True, self.live
        if self.mode is not None:
            return True, self.mode == "live"
        values = hypervisor_parameters(
            cluster.cluster, instance.hypervisor, instance.os, instance.hvparams
        )
        return False, values.get("migration_mode", "live") == "live"

    def _lasts(self, disks: tuple[int, ...]) -> float:
        if self.deadline is None:
            return timeouts.TRANSFER if disks else timeouts.MIGRATION
        if not 1 <= self.deadline <= timeouts.TRANSFER:
            raise Rejected(f"the deadline is 1 to {timeouts.TRANSFER:.0f} s, not {self.deadline}")
        return float(self.deadline)


async def _migrate(plan: MigratePlan, steps: Steps) -> Outcome:
    instance, source, target = plan.instance, plan.source.uuid, plan.target.uuid
    described = await _describe(plan, steps)
    for index in plan.disks:
        disk = described.spec.disks[index]
        await steps.do(
            f"create-disk/{index}",
            target,
            DiskCreate(disk=disk),
            undo=DiskRemove(disk=disk),
            timeout=timeouts.SLOW,
        )
    ports = await _receive(plan, described, steps)
    await _send(plan, ports, steps)
    disks = tuple(described.spec.disks[index] for index in plan.disks)
    try:
        await _resume(plan, steps)
    except Rejected as error:
        return await _taken_back(plan, disks, error, steps)
    steps.log(f"instance {instance.name} runs on node {plan.target.name}")
    moved = checks.changed(instance, steps.now, primary_node=target)
    cleanup = [Undo(source, moving.end(instance, source))]
    cleanup += [Undo(source, DiskRemove(disk=disk)) for disk in disks]
    return Outcome(put=(moved,), cleanup=tuple(cleanup))


async def _mirrored(plan: MigratePlan, promoted: Promotion, steps: Steps) -> Outcome:
    """Mirrored disks change primaries while the guest stands still.

    Until that is durable the source takes its guest back, and mirrors as before. From then on the
    source's is ended: where the rest fails, supervision starts the instance on the target, as the
    record says. What was acknowledged is on all replicas in sync in either case.
    """
    instance, source, target = plan.instance, plan.source.uuid, plan.target.uuid
    described = await _describe(plan, steps)
    disks = tuple(
        msgspec.structs.replace(disk, generation=disk.generation + 1, targets=())
        for disk in described.spec.disks
    )
    spec = msgspec.structs.replace(described.spec, disks=disks)
    ports = await _receive(plan, msgspec.structs.replace(described, spec=spec), steps)
    targets = await succession.prepare(steps, promoted)
    sent = await _send(plan, ports, steps)
    targets = succession.same(steps, promoted, targets, sent.whole)
    left = Undo(source, moving.end(instance, source))
    resume = GuestResume(uuid=instance.uuid, hypervisor=instance.hypervisor)
    drop = GuestDrop(uuid=instance.uuid, hypervisor=instance.hypervisor, forget=True)
    try:
        await succession.succeed(steps, promoted, disks, targets, resume, Undo(source, drop))
    except Cancelled:
        raise
    except GantryError as error:
        steps.warn(f"{error.message}: it is started anew on node {plan.target.name}")
        ends = [left, Undo(target, _waits_no_more(plan))]
        ends += [Undo(target, ReplicaClose(disk=one.disk)) for one in promoted.then.disks]
        return Outcome(error=error.info(), cleanup=tuple(ends))
    steps.log(f"instance {instance.name} runs on node {plan.target.name}")
    return Outcome(put=(promoted.after,), cleanup=(left,))


async def _describe(plan: MigratePlan, steps: Steps) -> Described:
    """What runs; its undo is the last of all: the instance is up where it was."""
    assert plan.spec is not None
    steps.log(f"migrating instance {plan.instance.name} to node {plan.target.name}")
    if plan.emulated:
        steps.warn(
            "it is emulated, so it is held still while its memory is sent: QEMU may lose what an "
            "emulated guest writes meanwhile (--migration-mode=live sends it as it runs all the "
            "same)"
        )
    return await steps.do(
        "describe-guest",
        plan.source.uuid,
        GuestDescribe(uuid=plan.instance.uuid, hypervisor=plan.instance.hypervisor),
        undo=checks.back_up(plan.instance, plan.spec, True),
    )


async def _receive(plan: MigratePlan, described: Described, steps: Steps) -> Ports:
    return await steps.do(
        "receive-guest",
        plan.target.uuid,
        GuestReceive(
            spec=described.spec,
            accelerator=described.accelerator,
            peer=transfer.peer(plan.source),
            host=plan.target.secondary_ip,
            disks=plan.disks,
        ),
        undo=_waits_no_more(plan),
    )


def _waits_no_more(plan: MigratePlan) -> GuestStop | GuestDrop:
    """What ends the target's guest that never ran; also once the record says that it is there."""
    if plan.promotion is None:
        return moving.end(plan.instance, plan.target.uuid)
    return GuestDrop(uuid=plan.instance.uuid, hypervisor=plan.instance.hypervisor, forget=True)


async def _send(plan: MigratePlan, ports: Ports, steps: Steps) -> Sent:
    instance = plan.instance
    peer = msgspec.structs.replace(transfer.peer(plan.target), host=plan.target.secondary_ip)
    order = GuestSend(
        uuid=instance.uuid,
        hypervisor=instance.hypervisor,
        peer=peer,
        ports=ports,
        disks=plan.disks,
        live=plan.live,
        downtime=plan.downtime,
        bandwidth=plan.bandwidth,
        lasts=plan.lasts,
        mirrored=plan.promotion is not None,
    )
    undo = GuestTakeBack(uuid=instance.uuid, hypervisor=instance.hypervisor)
    return await steps.do(
        "send-guest", plan.source.uuid, order, undo=undo, timeout=plan.lasts + _MARGIN
    )


async def _resume(plan: MigratePlan, steps: Steps) -> None:
    """From here on the guest may have run on the target; Rejected: it certainly has not."""
    instance, source = plan.instance, plan.source.uuid
    await steps.do(
        "resume-guest",
        plan.target.uuid,
        GuestResume(uuid=instance.uuid, hypervisor=instance.hypervisor),
        undo=Undo(source, GuestDrop(uuid=instance.uuid, hypervisor=instance.hypervisor)),
    )


async def _taken_back(
    plan: MigratePlan, disks: tuple[DiskSpec, ...], error: Rejected, steps: Steps
) -> Outcome:
    """It never ran on the target, so it can go on where it was, as it was: nothing is undone.

    The undo of the resumption would end it.
    """
    instance, target = plan.instance, plan.target.uuid
    steps.warn(f"{error.message}: it goes on on node {plan.source.name}")
    order = GuestTakeBack(uuid=instance.uuid, hypervisor=instance.hypervisor)
    await steps.do("take-back", plan.source.uuid, order)
    cleanup = [Undo(target, moving.end(instance, target))]
    cleanup += [Undo(target, DiskRemove(disk=disk)) for disk in disks]
    return Outcome(error=error.info(), cleanup=tuple(cleanup))
