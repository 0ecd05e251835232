"""Stop an instance where it is, and start it on another node: ``gnt-instance failover``."""

from __future__ import annotations

from typing import ClassVar

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import timeouts
from gantry.model.entities import AdminState, DiskTemplate, Instance, Node
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.orders import GuestSpec, GuestStart, GuestStop
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import (
    checks,
    death,
    mirroring,
    moving,
    oses,
    promotion,
    specs,
    whereabouts,
)
from gantry.ports.steps import Outcome, Steps, Undo


class FailoverPlan(Plan, frozen=True, kw_only=True):
    """``reach`` is False where the old node cannot be asked and ``proof`` says why it need not.

    ``still``: no replica is left behind while it is carried out.
    ``spec`` is None where the guest is not to be up. With ``found`` nothing is stopped or
    started: the guest runs on ``target`` already. ``promotion`` is what becomes of mirrored disks.
    """

    instance: Instance
    source: Node
    target: Node
    spec: GuestSpec | None = None
    reach: bool = True
    running: bool = False
    proof: str = ""
    found: bool = False
    promotion: promotion.Promotion | None = None
    still: bool = False


class InstanceFailover(Operation[FailoverPlan], frozen=True, kw_only=True):
    """``ignore_consistency``: also to mirrored disks that are not in sync, which loses data.

    It never means that the guest may run twice: the old node has ended it, or there is proof that
    it is dead (``steps.death``). ``cleanup``: move nothing, put into the record where it runs.
    """

    opcode: ClassVar[str] = "OP_INSTANCE_FAILOVER"
    plan_type: ClassVar[type[Plan]] = FailoverPlan

    instance_name: str
    instance_uuid: str | None = None
    shutdown_timeout: int = int(timeouts.SHUTDOWN)
    ignore_consistency: bool = False
    target_node: str | None = None
    target_node_uuid: str | None = None
    ignore_ipolicy: bool = False
    cleanup: bool = False
    iallocator: str | None = None

    def summary(self) -> str:
        return f"INSTANCE_FAILOVER({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        wanted = None if self.cleanup else self.target_node
        return moving.needs(cluster, cluster.instance(self.instance_name), wanted)

    def check(self, cluster: Snapshot, given: Given) -> FailoverPlan:
        if not 0 <= self.shutdown_timeout <= 86400:
            raise Rejected(f"the time limit is 0 to 86400 seconds, not {self.shutdown_timeout}")
        moving.no_allocator(self.iallocator)
        instance = cluster.instance(self.instance_name)
        source = cluster.nodes[instance.primary_node]
        if self.cleanup:
            node = whereabouts.found(cluster, instance)
            return FailoverPlan(instance=instance, source=source, target=node, found=True)
        _possible(instance)
        checks.nowhere_else(cluster, instance)
        spec = specs.guest(cluster.cluster, instance)
        starts = instance.admin_state is AdminState.UP
        memory = spec.memory if starts else 0
        target = self._target(cluster, instance, memory)
        purpose = f"start instance {instance.name} on node {target.name}"
        reach = cluster.node_live(source.uuid).reachable and not source.offline
        proof = "" if reach else death.proven(cluster, instance, source, purpose).words
        running = checks.running(cluster, instance)
        promoted = self._promotion(cluster, instance, target, given.now)
        written = running or (promoted is not None and promoted.before.active)
        return FailoverPlan(
            instance=instance,
            source=source,
            target=target,
            spec=spec if starts else None,
            reach=reach,
            running=running,
            proof=proof,
            claims=moving.claims(target, memory=memory),
            promotion=promoted,
            # Where no node is named none is let loose: see supervision.replicas.guarded.
            still=not self.target_node or not written,
        )

    def _target(self, cluster: Snapshot, instance: Instance, memory: int) -> Node:
        if instance.disk_template is not DiskTemplate.MIRROR:
            return moving.target(cluster, instance, self.target_node, memory=memory)
        ignore = self.ignore_consistency
        return promotion.target(
            cluster, instance, self.target_node, memory=memory, ignore_consistency=ignore
        )

    def _promotion(
        self, cluster: Snapshot, instance: Instance, target: Node, now: float
    ) -> promotion.Promotion | None:
        if instance.disk_template is not DiskTemplate.MIRROR:
            return None
        ignore = self.ignore_consistency
        return promotion.plan(cluster, instance, target, now, ignore_consistency=ignore)

    async def examine(self, plan: FailoverPlan, cluster: Snapshot, ask: Examiner) -> FailoverPlan:
        if plan.promotion is not None and not plan.promotion.lost:
            await promotion.examined(plan.promotion, plan.target, ask)
        if plan.spec is not None:
            await moving.sees_disks(ask, cluster, plan.instance, plan.target)
        return plan

    def subject(self, plan: FailoverPlan, cluster: Snapshot) -> Subject:
        return Subject(
            kind=SubjectKind.INSTANCE,
            instance=cluster.instances[plan.instance.uuid],
            values={
                "IGNORE_CONSISTENCY": self.ignore_consistency,
                "SHUTDOWN_TIMEOUT": self.shutdown_timeout,
                "FAILOVER_CLEANUP": self.cleanup,
                **moving.sides(cluster, plan.instance, plan.target),
            },
            extra_nodes=(plan.target.uuid,),
        )

    async def run(self, plan: FailoverPlan, steps: Steps) -> Outcome:
        if plan.found:
            return moving.recorded(plan.instance, plan.source, plan.target, steps)
        steps.log(f"failing over instance {plan.instance.name} to node {plan.target.name}")
        if plan.reach:
            await self._stop(plan, steps)
        else:
            steps.warn(plan.proof)
        if plan.promotion is not None:
            return await _promoted(plan, plan.promotion, steps)
        if plan.spec is not None:
            await _start(plan, plan.spec, steps)
        moved = checks.changed(plan.instance, steps.now, primary_node=plan.target.uuid)
        return Outcome(put=(moved,), cleanup=(_left_behind(plan),))

    async def _stop(self, plan: FailoverPlan, steps: Steps) -> None:
        """The answer is the proof of death: also where the guest was not thought to be up."""
        if plan.running:
            steps.log(f"stopping it on node {plan.source.name}")
        order = GuestStop(
            uuid=plan.instance.uuid,
            hypervisor=plan.instance.hypervisor,
            timeout=float(self.shutdown_timeout),
        )
        undo = None
        if plan.spec is not None:
            undo = checks.back_up(plan.instance, plan.spec, plan.running)
        await steps.do(
            "stop-guest",
            plan.source.uuid,
            order,
            undo=undo,
            timeout=self.shutdown_timeout + timeouts.GUEST_START,
        )


def _possible(instance: Instance) -> None:
    """Another node can have the disks; Rejected where it cannot."""
    if moving.shared(instance) or instance.disk_template is DiskTemplate.MIRROR:
        return
    raise Rejected(
        f"instance {instance.name} cannot be failed over: its disks (template "
        f"{instance.disk_template}) are on its node alone",
        "gnt-instance move copies them to another node; where the node is dead, only it or a "
        "backup has them (gnt-backup import)",
        reason=Reason.STATE,
        object_name=instance.name,
    )


async def _promoted(plan: FailoverPlan, promoted: promotion.Promotion, steps: Steps) -> Outcome:
    """Mirrored disks: another replica is the primary's, durably, before the guest starts there."""
    if promoted.lost:
        steps.warn(
            f"{promoted.lost}: what was written since it fell behind is lost, and what is there of "
            "it may not fit together; let the guest check its file systems"
        )
    if plan.reach and promoted.before.active:
        await mirroring.deactivate(steps, plan.instance.uuid, plan.source.uuid)
    clean = plan.reach and await promotion.closed(steps, promoted)
    then = await promotion.promote(steps, promoted, clean=clean, still=plan.still)
    states = then.known
    if plan.spec is not None:
        steps.log(f"starting it on node {plan.target.name}")
        undo = moving.end(plan.instance, plan.target.uuid)
        order = GuestStart(spec=plan.spec)
        await mirroring.start(
            steps, plan.target.uuid, order, then.mirroring, undo, known=then.known
        )
        states = ()  # they stand already, and may have changed since
    return Outcome(put=(promoted.after,), mirrors=states, cleanup=(_left_behind(plan),))


async def _start(plan: FailoverPlan, spec: GuestSpec, steps: Steps) -> None:
    steps.log(f"starting it on node {plan.target.name}")
    if oses.FAILED_INSTALL in plan.instance.tags:
        steps.warn(f"its last installation failed (tag {oses.FAILED_INSTALL})")
    await steps.do(
        "start-guest",
        plan.target.uuid,
        GuestStart(spec=spec),
        undo=moving.end(plan.instance, plan.target.uuid),
    )


def _left_behind(plan: FailoverPlan) -> Undo:
    """The old node forgets the guest; one that was not asked ends it, should it be there."""
    if plan.reach:
        return moving.forget(plan.instance, plan.source.uuid)
    return Undo(plan.source.uuid, moving.end(plan.instance, plan.source.uuid))
