"""Make disks that are lost anew, empty: ``gnt-instance recreate-disks``."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import locks, sizes, timeouts
from gantry.model.disk_orders import ReadDisks
from gantry.model.entities import Disk, DiskMode, DiskTemplate, Instance, Node
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.orders import DiskCreate, DiskRemove
from gantry.model.snapshot import Claim, Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import (
    checks,
    death,
    disks,
    lost_mirrors,
    moving,
    specs,
)
from gantry.operations.steps.lost_mirrors import Lost
from gantry.ports.steps import Outcome, Steps, Undo

_EMPTY: Final = "what was made is empty: gnt-instance reinstall, or a backup, fills it"


class Changed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a disk that is made anew differs from its record; a size is MiB, or text as ``10G``."""

    size: int | str | None = None
    mode: str | None = None


class Anew(msgspec.Struct, frozen=True, array_like=True):
    """Ganeti's pair: which disk, and how it differs."""

    which: int | str
    change: Changed = Changed()


class RecreatePlan(Plan, frozen=True, kw_only=True):
    """``indexes`` are the disks that are made; ``old`` is the node that it leaves, if it does.

    ``reach``: the old node answers. ``proof`` says why its guest is dead there.
    """

    before: Instance
    after: Instance
    indexes: tuple[int, ...]
    node: Node
    old: Node | None = None
    reach: bool = True
    proof: str = ""
    mirrored: Lost | None = None
    """Of mirrored ones: the replicas that are made with them."""


class InstanceRecreateDisks(Operation[RecreatePlan], frozen=True, kw_only=True):
    """``disks`` empty: all. ``nodes`` is at most the new primary node, and then all are made.

    A disk that is there and not empty is never touched. Of a mirrored one no node must have a
    replica any more: then all are made anew.
    """

    opcode: ClassVar[str] = "OP_INSTANCE_RECREATE_DISKS"
    plan_type: ClassVar[type[Plan]] = RecreatePlan

    instance_name: str
    instance_uuid: str | None = None
    disks: tuple[Anew | int | str, ...] = ()
    nodes: tuple[str, ...] = ()
    iallocator: str | None = None

    def summary(self) -> str:
        return f"INSTANCE_RECREATE_DISKS({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        instance = cluster.instance(self.instance_name)
        nodes = [*checks.all_nodes(instance), *(cluster.node(name).uuid for name in self.nodes)]
        return Needs.of(
            shared=[locks.CLUSTER, *(locks.node(uuid) for uuid in dict.fromkeys(nodes))],
            exclusive=[locks.instance(instance.uuid)],
        )

    def check(self, cluster: Snapshot, given: Given) -> RecreatePlan:
        moving.no_allocator(self.iallocator)
        before = cluster.instance(self.instance_name)
        what = f"recreate disks of instance {before.name}"
        disks.some(before, what)
        if before.disk_template is DiskTemplate.MIRROR:
            lost_mirrors.possible(cluster, before, what, self.nodes)
        else:
            disks.files(before, what)
        after, indexes = self._changed(before)
        old = cluster.nodes[before.primary_node]
        node = self._node(cluster, before, len(indexes))
        checks.node_usable(cluster, node, what)
        proof = ""
        if node.uuid == old.uuid or not old.offline:
            checks.stopped(cluster, before, what)
        if node.uuid != old.uuid:
            purpose = f"make disks of instance {before.name} on node {node.name}"
            proof = death.proven(cluster, before, old, purpose).words
        space = sum(after.disks[at].size for at in indexes)
        own = before.disk_template is not DiskTemplate.SHAREDFILE
        if own:
            checks.disk_fits(cluster, node, space, f"instance {before.name}")
        return RecreatePlan(
            before=before,
            after=checks.changed(after, given.now, primary_node=node.uuid),
            indexes=indexes,
            node=node,
            old=old if node.uuid != old.uuid else None,
            reach=cluster.node_live(old.uuid).reachable and not old.offline,
            proof=proof,
            claims=(Claim(node=node.uuid, disk=space),) if own else (),
        )

    async def examine(self, plan: RecreatePlan, cluster: Snapshot, ask: Examiner) -> RecreatePlan:
        """What is there is said before anything is made; those that are made are the others."""
        if plan.old is not None and plan.reach:
            await self._lost(plan, plan.old, ask)
        wanted = tuple(specs.disk(at, plan.after.disks[at]) for at in plan.indexes)
        said = await ask.ask(plan.node.uuid, ReadDisks(disks=wanted), timeouts.URGENT)
        there = [
            at for at, seen in zip(plan.indexes, said.disks, strict=True) if seen.size is not None
        ]
        if not self.disks and len(there) < len(plan.indexes):
            # Of all, those that are lost are meant.
            left = tuple(at for at in plan.indexes if at not in there)
            plan, there = msgspec.structs.replace(plan, indexes=left), []
        if there:
            raise _there(plan, there, plan.node, "gnt-instance reinstall writes a new system on it")
        if plan.before.disk_template is DiskTemplate.MIRROR:
            lost = await lost_mirrors.examined(cluster, plan.after, plan.indexes, ask)
            claims = (*plan.claims, *lost.claims)
            return msgspec.structs.replace(plan, after=lost.after, mirrored=lost, claims=claims)
        return plan

    async def _lost(self, plan: RecreatePlan, old: Node, ask: Examiner) -> None:
        """The node that it leaves does not have them either."""
        said = await ask.ask(old.uuid, ReadDisks(disks=specs.disks(plan.before)), timeouts.URGENT)
        found = [at for at, seen in enumerate(said.disks) if seen.size is not None]
        if found:
            raise _there(plan, found, old, "gnt-instance move takes it to another node")

    def subject(self, plan: RecreatePlan, cluster: Snapshot) -> Subject:
        return Subject(
            kind=SubjectKind.INSTANCE,
            instance=cluster.instances[plan.before.uuid],
            extra_nodes=(plan.node.uuid,) if plan.old else (),
        )

    async def run(self, plan: RecreatePlan, steps: Steps) -> Outcome:
        if plan.old is not None and not plan.reach:
            steps.warn(plan.proof)
        if plan.mirrored is not None:
            changes = await lost_mirrors.make(steps, plan.mirrored)
            steps.warn(_EMPTY)
            return Outcome(put=(plan.after,), mirrors=changes)
        for at in plan.indexes:
            disk = specs.disk(at, plan.after.disks[at])
            steps.log(f"making disk {at} of {disk.size} MiB on node {plan.node.name}")
            await steps.do(
                f"create-disk/{at}",
                plan.node.uuid,
                DiskCreate(disk=disk),
                undo=DiskRemove(disk=disk, untouched=True),
                timeout=timeouts.SLOW,
            )
        steps.warn(_EMPTY)
        return Outcome(put=(plan.after,), cleanup=_left_behind(plan))

    def _changed(self, before: Instance) -> tuple[Instance, tuple[int, ...]]:
        """The instance with its disks as they will be, and which are meant."""
        found: dict[int, Disk] = {}
        for one in self.disks:
            anew = one if isinstance(one, Anew) else Anew(one)
            at = disks.index(before, anew.which)
            if at in found:
                raise Rejected(f"disk {at} is given twice")
            found[at] = _as(before.disks[at], at, anew.change)
        after = tuple(found.get(at, disk) for at, disk in enumerate(before.disks))
        indexes = tuple(sorted(found)) or tuple(range(len(before.disks)))
        return msgspec.structs.replace(before, disks=after), indexes

    def _node(self, cluster: Snapshot, before: Instance, count: int) -> Node:
        if not self.nodes:
            return cluster.nodes[before.primary_node]
        if len(self.nodes) > 1:
            raise Rejected("these disks are on one node: give one with -n")
        node = cluster.node(self.nodes[0])
        if node.uuid == before.primary_node:
            return node
        if count < len(before.disks):
            raise Rejected(
                "some disks cannot be made on another node than the others",
                "leave --disk out, or -n",
            )
        return moving.target(cluster, before, self.nodes[0], memory=0)


def _there(plan: RecreatePlan, found: list[int], node: Node, hint: str) -> Rejected:
    return Rejected(
        f"disk {', '.join(map(str, found))} of instance {plan.before.name} is there, on node "
        f"{node.name}: it is not made anew",
        hint,
        reason=Reason.EXISTS,
        node=node.name,
        object_name=plan.before.name,
    )


def _left_behind(plan: RecreatePlan) -> tuple[Undo, ...]:
    """The old node forgets the guest; one that was not asked ends it, should it be there."""
    if plan.old is None:
        return ()
    if plan.reach:
        return (moving.forget(plan.before, plan.old.uuid),)
    return (Undo(plan.old.uuid, moving.end(plan.before, plan.old.uuid)),)


def _as(disk: Disk, at: int, change: Changed) -> Disk:
    size = disk.size
    if change.size is not None:
        size = sizes.parse(str(change.size), f"the size of disk {at}")
    try:
        mode = DiskMode(change.mode) if change.mode else disk.mode
    except ValueError:
        raise Rejected(f"disk {at}: mode is rw or ro, not {change.mode!r}") from None
    return msgspec.structs.replace(disk, size=size, mode=mode)
