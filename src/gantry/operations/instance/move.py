"""Bring an instance whose disks are its node's own to another node: ``gnt-instance move``."""

from __future__ import annotations

from typing import ClassVar

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import timeouts
from gantry.model.backup_orders import WholeDisk
from gantry.model.entities import AdminState, DiskTemplate, Instance, Node
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.orders import DiskCreate, DiskRemove, GuestSpec, GuestStart, GuestStop
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import checks, moving, specs, transfer
from gantry.operations.steps.transfer import Transfer
from gantry.ports.steps import Outcome, Steps, Undo

_TEMPLATES = (DiskTemplate.FILE, DiskTemplate.DISKLESS)


class MovePlan(Plan, frozen=True, kw_only=True):
    """``starts``: the guest is to be up afterwards."""

    instance: Instance
    source: Node
    target: Node
    spec: GuestSpec
    transfers: tuple[Transfer, ...]
    running: bool
    starts: bool


class InstanceMove(Operation[MovePlan], frozen=True, kw_only=True):
    """The guest is down while its disks are copied; the old ones are removed last of all.

    ``ignore_consistency`` changes nothing: what runs must have been ended before it is copied.
    """

    opcode: ClassVar[str] = "OP_INSTANCE_MOVE"
    plan_type: ClassVar[type[Plan]] = MovePlan

    instance_name: str
    target_node: str
    instance_uuid: str | None = None
    target_node_uuid: str | None = None
    shutdown_timeout: int = int(timeouts.SHUTDOWN)
    compress: str = "none"
    ignore_consistency: bool = False
    ignore_ipolicy: bool = False

    def summary(self) -> str:
        return f"INSTANCE_MOVE({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        return moving.needs(cluster, cluster.instance(self.instance_name), self.target_node)

    def check(self, cluster: Snapshot, given: Given) -> MovePlan:
        if not 0 <= self.shutdown_timeout <= 86400:
            raise Rejected(f"the time limit is 0 to 86400 seconds, not {self.shutdown_timeout}")
        compress = transfer.compression(self.compress)
        instance = cluster.instance(self.instance_name)
        _possible(instance)
        source = cluster.nodes[instance.primary_node]
        checks.node_usable(cluster, source, f"copy the disks of instance {instance.name}")
        checks.nowhere_else(cluster, instance)
        spec = specs.guest(cluster.cluster, instance)
        starts = instance.admin_state is AdminState.UP
        memory = spec.memory if starts else 0
        space = sum(disk.size for disk in instance.disks)
        target = moving.target(cluster, instance, self.target_node, memory=memory, disk=space)
        return MovePlan(
            instance=instance,
            source=source,
            target=target,
            spec=spec,
            transfers=tuple(
                Transfer(
                    uuid=given.uuid(),
                    source=transfer.peer(source),
                    target=transfer.peer(target),
                    origin=WholeDisk(disk=disk),
                    landing=WholeDisk(disk=disk),
                    compress=compress,
                )
                for disk in spec.disks
            ),
            running=checks.running(cluster, instance),
            starts=starts,
            claims=moving.claims(target, memory=memory, disk=space),
        )

    async def examine(self, plan: MovePlan, cluster: Snapshot, ask: Examiner) -> MovePlan:
        if plan.starts:
            await moving.sees_disks(ask, cluster, plan.instance, plan.target)
        if plan.transfers:
            first = plan.transfers[0]
            await transfer.programs_there(ask, first.compress, first.source, first.target)
        return plan

    def subject(self, plan: MovePlan, cluster: Snapshot) -> Subject:
        return Subject(
            kind=SubjectKind.INSTANCE,
            instance=cluster.instances[plan.instance.uuid],
            values={"TARGET_NODE": plan.target.name, "SHUTDOWN_TIMEOUT": self.shutdown_timeout},
            extra_nodes=(plan.target.uuid,),
        )

    async def run(self, plan: MovePlan, steps: Steps) -> Outcome:
        instance, source, target = plan.instance, plan.source.uuid, plan.target.uuid
        steps.log(f"moving instance {instance.name} to node {plan.target.name}")
        await self._stop(plan, steps)
        for disk in plan.spec.disks:
            await steps.do(
                f"create-disk/{disk.index}",
                target,
                DiskCreate(disk=disk),
                undo=DiskRemove(disk=disk),
                timeout=timeouts.SLOW,
            )
        for index, one in enumerate(plan.transfers):
            await transfer.move(steps, index, one)
        if plan.starts:
            steps.log(f"starting it on node {plan.target.name}")
            await steps.do(
                "start-guest",
                target,
                GuestStart(spec=plan.spec),
                undo=moving.end(instance, target),
            )
        moved = checks.changed(instance, steps.now, primary_node=target)
        cleanup = [Undo(source, DiskRemove(disk=disk)) for disk in plan.spec.disks]
        return Outcome(put=(moved,), cleanup=(*cleanup, moving.forget(instance, source)))

    async def _stop(self, plan: MovePlan, steps: Steps) -> None:
        order = GuestStop(
            uuid=plan.instance.uuid,
            hypervisor=plan.instance.hypervisor,
            timeout=float(self.shutdown_timeout),
        )
        await steps.do(
            "stop-guest",
            plan.source.uuid,
            order,
            undo=checks.back_up(plan.instance, plan.spec, plan.running),
            timeout=self.shutdown_timeout + timeouts.GUEST_START,
        )


def _possible(instance: Instance) -> None:
    """Its disks can be copied, and have to be; or Rejected."""
    if instance.disk_template in _TEMPLATES:
        return
    raise Rejected(
        f"instance {instance.name} cannot be moved by copying: its disks are of template "
        f"{instance.disk_template}",
        f"other nodes have them already: gnt-instance failover {instance.name}, or migrate",
        reason=Reason.STATE,
        object_name=instance.name,
    )
