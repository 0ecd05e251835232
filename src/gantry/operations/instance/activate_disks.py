"""Make an instance's disks usable on its node: ``gnt-instance activate-disks``."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from gantry.model import timeouts
from gantry.model.disk_orders import ReadDisks
from gantry.model.entities import Instance
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.replica_orders import DisksActivate, DisksDeactivate
from gantry.model.replicas import MirrorChange
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import checks, disks, mirrors, specs
from gantry.operations.steps.mirroring import copied, serve_all
from gantry.operations.steps.mirrors import IN_SYNC, SYNCING, Copy, MirroredDisk, Mirroring
from gantry.ports.steps import Outcome, Steps

_MIB = 1024 * 1024


class ActivatePlan(Plan, frozen=True, kw_only=True):
    """``node`` is the name of the node that they are on."""

    instance: Instance
    node: str
    mirroring: Mirroring | None = None


class InstanceActivateDisks(Operation[ActivatePlan], frozen=True, kw_only=True):
    """Disks that are files need nothing to be done: they are looked at, with their sizes.

    Mirrored ones are opened by a storage daemon on the primary node, which copies what is not in
    sync, and mirrors on until they are deactivated or the instance is started.

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
        whole = mirrors.of(cluster, instance)
        if instance.disks and whole is None:
            disks.files(instance, what)
        if whole is not None and not whole.active:
            checks.stopped(cluster, instance, what)
        node = cluster.nodes[instance.primary_node]
        checks.node_usable(cluster, node, what)
        return ActivatePlan(instance=instance, node=node.name, mirroring=whole)

    async def examine(self, plan: ActivatePlan, cluster: Snapshot, ask: Examiner) -> ActivatePlan:
        if plan.mirroring is not None:
            purpose = f"activate disks of instance {plan.instance.name}"
            found = await mirrors.examined(plan.mirroring, plan.instance, ask, purpose)
            return msgspec.structs.replace(plan, mirroring=found)
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
        whole, changes = plan.mirroring, tuple[MirrorChange, ...]()
        if whole is not None:
            behind = _syncing(whole)
            if not whole.active:
                behind = await _mirrored(plan, whole, steps)
            if self.wait_for_sync:
                instance = plan.instance
                changes = tuple([await copied(steps, instance, one, copy) for one, copy in behind])
        return Outcome(result=found, mirrors=changes)


def _syncing(mirroring: Mirroring) -> list[tuple[MirroredDisk, Copy]]:
    """What is being copied, or is to be."""
    return [
        (one, copy)
        for one in mirroring.disks
        for copy in one.copies
        if copy.there and (copy.state is SYNCING or (copy.state is IN_SYNC and not mirroring.clean))
    ]


async def _mirrored(
    plan: ActivatePlan, mirroring: Mirroring, steps: Steps
) -> list[tuple[MirroredDisk, Copy]]:
    """Gives back what is copied from now on."""
    instance = plan.instance
    served = await serve_all(steps, mirroring)
    if not any(disk.targets for disk in served.disks):
        raise OperationFailed(
            f"no replica of instance {instance.name} beside the primary's can be had",
            "see the warnings of the job; without any there is nothing to activate",
            reason=Reason.ENVIRONMENT,
            object_name=instance.name,
        )
    steps.log("the disks are mirrored until they are deactivated, or the instance is started")
    await steps.do(
        "activate-disks",
        instance.primary_node,
        DisksActivate(guest=instance.uuid, name=instance.name, disks=served.disks),
        undo=DisksDeactivate(guest=instance.uuid),
        first=served.first,
    )
    targets = {(disk.index, target.node) for disk in served.disks for target in disk.targets}
    return [
        (one, copy) for one, copy in _syncing(mirroring) if (one.disk.index, copy.node) in targets
    ]
