"""Make replicas anew, there or elsewhere: ``gnt-instance replace-disks``."""

from __future__ import annotations

from typing import ClassVar

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import timeouts
from gantry.model.entities import Instance, Node, ReplicaState
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.orders import DiskCreate, DiskRemove
from gantry.model.replica_orders import MirrorRelease
from gantry.model.replicas import MirrorChange, ReplicaAdded, ReplicaBecame, ReplicaRemoved
from gantry.model.snapshot import Claim, Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import (
    checks,
    mirroring,
    mirrors,
    moving,
    placing,
    primary_anew,
    replacing,
)
from gantry.operations.steps.mirrors import IN_SYNC, STALE, SYNCING, Copy, Mirroring
from gantry.operations.steps.primary_anew import Operations
from gantry.operations.steps.replacing import Swap
from gantry.ports.steps import Changes, Outcome, Steps, Undo

ON_PRIMARY, ON_SECONDARY = "replace_on_primary", "replace_on_secondary"
NEW_SECONDARY, AUTO = "replace_new_secondary", "replace_auto"
MODES = (ON_PRIMARY, ON_SECONDARY, NEW_SECONDARY, AUTO)


class ReplacePlan(Plan, frozen=True, kw_only=True):
    """``wait``: the old replicas go once the new ones are in sync, within this job.

    Of those that are made anew where they are: the job ends when they are in sync.
    """

    before: Instance
    after: Instance
    mirroring: Mirroring
    swaps: tuple[Swap, ...]
    old: str
    new: str | None
    running: bool
    wait: bool
    through: Operations = ()
    """The job that makes the primary's anew, from the replicas on the node ``old``."""


class InstanceReplaceDisks(Operation[ReplacePlan], frozen=True, kw_only=True):
    """``mode`` as in Ganeti; ``old_node`` is ours, for disks with several other replicas.

    ``early_release``: the old ones go at once, which leaves the guest without them meanwhile.
    ``wait_for_sync``, with ``replace_on_secondary`` and a guest that runs: until they are in sync.
    """

    opcode: ClassVar[str] = "OP_INSTANCE_REPLACE_DISKS"
    plan_type: ClassVar[type[Plan]] = ReplacePlan

    instance_name: str
    instance_uuid: str | None = None
    mode: str
    disks: tuple[int, ...] = ()
    remote_node: str | None = None
    remote_node_uuid: str | None = None
    old_node: str | None = None
    iallocator: str | None = None
    early_release: bool = False
    wait_for_sync: bool = False
    ignore_ipolicy: bool = False

    def summary(self) -> str:
        return f"INSTANCE_REPLACE_DISKS({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        instance = cluster.instance(self.instance_name)
        if self.mode == ON_SECONDARY:
            return checks.instance_locks(instance)
        return moving.needs(cluster, instance, self.remote_node)

    def check(self, cluster: Snapshot, given: Given) -> ReplacePlan:
        moving.no_allocator(self.iallocator)
        before = cluster.instance(self.instance_name)
        purpose = f"replace replicas of instance {before.name}"
        whole = mirrors.required(cluster, before, purpose)
        self._possible(before)
        checks.node_usable(cluster, cluster.nodes[before.primary_node], purpose)
        if self._primary(cluster, before):
            if self.mode == AUTO:
                return _suspected(cluster, before, whole)
            return self._through(cluster, before, whole)
        old = replacing.chosen(cluster, before, self.old_node, "replace")
        new = self._new(cluster, before, old)
        if new is None:
            swaps = replacing.in_place(whole, old, self.disks, before.name)
        else:
            swaps = replacing.elsewhere(cluster, before, whole, old, new)
        running = checks.running(cluster, before)
        wait = (
            new is not None
            and not self.early_release
            and not all(map(replacing.may_go_before, swaps))
        )
        if wait and not running:
            raise Rejected(
                f"cannot {purpose}: it is down, and the replica on {old.name} is in sync, which a "
                "new one is only when it was copied",
                f"start it first: gnt-instance startup {before.name}; or give --early-release",
                reason=Reason.STATE,
                object_name=before.name,
            )
        size = sum(swap.disk.disk.size for swap in swaps) if new else 0
        return ReplacePlan(
            before=before,
            after=self._after(cluster, before, swaps, given.now),
            mirroring=whole,
            swaps=swaps,
            old=old.name,
            new=new.name if new else None,
            running=running,
            wait=wait or (new is None and self.wait_for_sync and running),
            claims=(Claim(node=new.uuid, disk=size),) if new else (),
        )

    def _possible(self, instance: Instance) -> None:
        if self.mode not in MODES:
            raise Rejected(f"there is no mode {self.mode!r}", "it is one of " + ", ".join(MODES))
        if (self.remote_node is not None) != (self.mode == NEW_SECONDARY):
            raise Rejected("a new node is given with -n, and with -n alone")
        if self.disks and self.mode not in (ON_SECONDARY, ON_PRIMARY):
            raise Rejected("single disks can only be replaced where they are", "give -s or -p")
        if any(not 0 <= index < len(instance.disks) for index in self.disks):
            raise Rejected(
                f"instance {instance.name} has disks 0 to {len(instance.disks) - 1}",
                reason=Reason.UNKNOWN,
            )

    def _primary(self, cluster: Snapshot, instance: Instance) -> bool:
        """Whether it is the primary's that is meant; where that is well is seen in ``examine``."""
        others = instance.secondary_nodes
        well = not any(replacing.needs_it(cluster, instance, node) for node in others)
        return self.mode == ON_PRIMARY or (self.mode == AUTO and not self.old_node and well)

    def _through(self, cluster: Snapshot, before: Instance, whole: Mirroring) -> ReplacePlan:
        checks.nowhere_else(cluster, before)
        if whole.active:
            raise Rejected(
                f"the disks of {before.name} are active, and mirrored without it",
                f"gnt-instance deactivate-disks {before.name}",
                reason=Reason.STATE,
                object_name=before.name,
            )
        other = primary_anew.helper(cluster, before)
        return ReplacePlan(
            before=before,
            after=before,
            mirroring=whole,
            swaps=(),
            old=other.name,
            new=None,
            running=checks.running(cluster, before),
            wait=False,
            through=primary_anew.operations(cluster, before, other, self.disks),
        )

    async def examine(self, plan: ReplacePlan, cluster: Snapshot, ask: Examiner) -> ReplacePlan:
        if self.mode != AUTO or plan.swaps:
            return plan
        try:
            await mirrors.examined(plan.mirroring, plan.before, ask, "replace its replicas")
        except Rejected:  # it must not be used
            return self._through(cluster, plan.before, plan.mirroring)
        raise _fine(plan)

    def _new(self, cluster: Snapshot, instance: Instance, old: Node) -> Node | None:
        """The node that takes the place of the old one; None where it stays."""
        if self.remote_node is not None:
            return cluster.node(self.remote_node)
        if self.mode == ON_SECONDARY:
            return None
        if not replacing.needs_it(cluster, instance, old.uuid):
            raise Rejected(
                f"nothing is to be replaced: the replica of {instance.name} on {old.name} is fine",
                "-s makes it anew all the same",
                reason=Reason.STATE,
                object_name=instance.name,
            )
        if mirrors.there(cluster, old):
            return None
        having = {*checks.all_nodes(instance)}
        size = sum(disk.size for disk in instance.disks)
        return placing.free_for_copy(cluster, instance.hypervisor, having, size)

    def _after(
        self, cluster: Snapshot, before: Instance, swaps: tuple[Swap, ...], now: float
    ) -> Instance:
        changes = [change for swap in swaps for change in _changes(swap, SYNCING)]
        records = mirrors.records(cluster, before)
        others = mirrors.secondaries(before, records, *changes)
        return checks.changed(before, now, secondary_nodes=others)

    def subject(self, plan: ReplacePlan, cluster: Snapshot) -> Subject:
        new = plan.swaps[0].new if plan.swaps else None
        return Subject(
            kind=SubjectKind.INSTANCE,
            instance=cluster.instances[plan.before.uuid],
            values={"MODE": self.mode, "NEW_SECONDARY": plan.new, "OLD_SECONDARY": plan.old},
            seed_values={"NEW_SECONDARY": plan.new or plan.old},
            extra_nodes=(new.node,) if new is not None else (),
        )

    async def run(self, plan: ReplacePlan, steps: Steps) -> Outcome:
        if plan.through:
            steps.log(f"the primary's replicas are made anew from those on node {plan.old}")
            return Outcome(jobs=(plan.through,), result={"jobs": []})
        if plan.new is None:
            return await _in_place(plan, steps)
        return await _elsewhere(plan, steps)


def _suspected(cluster: Snapshot, before: Instance, whole: Mirroring) -> ReplacePlan:
    """Whether the primary's must not be used is seen in ``examine``."""
    return ReplacePlan(
        before=before,
        after=before,
        mirroring=whole,
        swaps=(),
        old=cluster.nodes[before.primary_node].name,
        new=None,
        running=checks.running(cluster, before),
        wait=False,
    )


def _fine(plan: ReplacePlan) -> Rejected:
    name = plan.before.name
    copied = {
        copy.name: one.disk.index
        for one in plan.mirroring.disks
        for copy in one.copies
        if copy.state is SYNCING
    }
    why, hint = f"the replicas of {name} are fine", "-s and -p make them anew all the same"
    if copied:
        several = ", ".join(f"disk {index} to {node}" for node, index in copied.items())
        why = f"no replica of {name} is lost; {several} is being copied"
        hint = f"gnt-instance info {name} shows how far that is"
        if not plan.running:
            why = f"no replica of {name} is lost; {several} is to be copied"
            hint = f"its start does it, or gnt-instance activate-disks {name}"
    return Rejected(
        f"nothing is to be replaced: {why}", hint, reason=Reason.STATE, object_name=name
    )


async def _in_place(plan: ReplacePlan, steps: Steps) -> Outcome:
    """It is stale, then gone, then made and copied anew, like any that has fallen behind."""
    changes: list[MirrorChange] = []
    begun: list[Swap] = []
    for swap in plan.swaps:
        one, copy = swap.disk, swap.old
        index = one.disk.index
        steps.log(f"making the replica of disk {index} on node {copy.name} anew")
        stale = ReplicaBecame(disk=one.disk.uuid, node=copy.node, state=STALE)
        release = MirrorRelease(
            guest=plan.before.uuid,
            hypervisor=plan.before.hypervisor,
            index=index,
            node=copy.node,
        )
        await steps.do(
            f"release-mirror/{index}",
            plan.before.primary_node,
            release,
            first=Changes(mirrors=(stale,)),
            timeout=timeouts.URGENT,
        )
        await mirroring.close(steps, one, copy)
        await steps.do(f"remove-disk/{index}", copy.node, DiskRemove(disk=one.disk))
        await steps.do(f"create-disk/{index}", copy.node, DiskCreate(disk=one.disk))
        if plan.running:
            failed = await mirroring.mirror_anew(
                steps, plan.before, plan.mirroring, one, copy, closed=True
            )
            changes += failed
            begun += [] if failed else [swap]
        else:
            changes.append(ReplicaBecame(disk=one.disk.uuid, node=copy.node, state=SYNCING))
    for swap in begun if plan.wait else ():
        changes.append(await mirroring.copied(steps, plan.before, swap.disk, swap.old))
    if not plan.running:
        steps.log("it is copied when the instance is started")
    return Outcome(mirrors=tuple(changes))


async def _elsewhere(plan: ReplacePlan, steps: Steps) -> Outcome:
    """The new ones are made first; the old ones go with the commit that adds the new ones."""
    for swap in plan.swaps:
        assert swap.new is not None
        await _made(plan, swap, swap.new, steps)
    state = SYNCING
    if plan.wait:
        for swap in plan.swaps:
            assert swap.new is not None
            await mirroring.copied(steps, plan.before, swap.disk, swap.new)
        state = IN_SYNC
    elif not plan.running:
        steps.log("the new replicas are copied when the instance is started")
    changes = [change for swap in plan.swaps for change in _changes(swap, state)]
    cleanup: list[Undo] = []
    for swap in plan.swaps:
        cleanup += mirroring.leaving(plan.before, swap.disk, swap.old)
    return Outcome(put=(plan.after,), mirrors=tuple(changes), cleanup=tuple(cleanup))


async def _made(plan: ReplacePlan, swap: Swap, new: Copy, steps: Steps) -> None:
    one = swap.disk
    steps.log(f"making a replica of disk {one.disk.index} on node {new.name}")
    await mirroring.make_copy(steps, plan.mirroring, plan.before, one, new, running=plan.running)


def _changes(swap: Swap, state: ReplicaState) -> list[MirrorChange]:
    if swap.new is None:
        return []
    disk = swap.disk.disk.uuid
    return [
        ReplicaAdded(disk=disk, node=swap.new.node, state=state),
        ReplicaRemoved(disk=disk, node=swap.old.node),
    ]
