"""Remove an instance and its disks: ``gnt-instance remove``."""

from __future__ import annotations

from typing import ClassVar

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import timeouts
from gantry.model.entities import Instance, Mirror
from gantry.model.errors import GantryError, Rejected
from gantry.model.locks import Needs
from gantry.model.orders import DiskRemove, GuestForget, GuestSpec, GuestStop
from gantry.model.replica_orders import DisksDeactivate
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given, Operation, Plan
from gantry.operations.steps import checks, mirroring, mirrors, specs
from gantry.ports.steps import Outcome, Steps, Undo


class RemovePlan(Plan, frozen=True, kw_only=True):
    """``reach`` is False where the node is offline: what is there is removed when it is back."""

    instance: Instance
    spec: GuestSpec
    reach: bool
    running: bool
    mirroring: mirrors.Mirroring | None = None
    records: tuple[Mirror, ...] = ()


class InstanceRemove(Operation[RemovePlan], frozen=True, kw_only=True):
    """The instance goes with the final commit; its disks are removed right after it."""

    opcode: ClassVar[str] = "OP_INSTANCE_REMOVE"
    plan_type: ClassVar[type[Plan]] = RemovePlan

    instance_name: str
    instance_uuid: str | None = None
    shutdown_timeout: int = int(timeouts.SHUTDOWN)
    ignore_failures: bool = False

    def summary(self) -> str:
        return f"INSTANCE_REMOVE({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        return checks.instance_locks(cluster.instance(self.instance_name))

    def check(self, cluster: Snapshot, given: Given) -> RemovePlan:
        if not 0 <= self.shutdown_timeout <= 86400:
            raise Rejected(f"the time limit is 0 to 86400 seconds, not {self.shutdown_timeout}")
        instance = cluster.instance(self.instance_name)
        node = cluster.nodes[instance.primary_node]
        if not node.offline:
            checks.node_usable(cluster, node, f"remove instance {instance.name}")
        return RemovePlan(
            instance=instance,
            spec=specs.guest(cluster.cluster, instance),
            reach=not node.offline,
            running=checks.running(cluster, instance),
            mirroring=mirrors.of(cluster, instance),
            records=mirrors.records(cluster, instance),
        )

    def subject(self, plan: RemovePlan, cluster: Snapshot) -> Subject:
        return Subject(
            kind=SubjectKind.INSTANCE,
            instance=plan.instance,
            values={"SHUTDOWN_TIMEOUT": self.shutdown_timeout},
        )

    async def run(self, plan: RemovePlan, steps: Steps) -> Outcome:
        node = plan.instance.primary_node
        if plan.reach:
            await self._stop(plan, steps)
        else:
            steps.warn("its node is offline: its disks are removed when the node is back")
        steps.log(f"removing instance {plan.instance.name}")
        forget = GuestForget(uuid=plan.instance.uuid, hypervisor=plan.instance.hypervisor)
        active = plan.mirroring is not None and plan.mirroring.active
        ended = DisksDeactivate(guest=plan.instance.uuid)
        cleanup = [
            *([Undo(node, ended)] if active else []),
            *mirroring.closing(plan.mirroring),
            *(Undo(node, DiskRemove(disk=disk)) for disk in specs.disks(plan.instance)),
            *mirroring.removing(plan.mirroring),
        ]
        return Outcome(
            delete=(plan.instance, *plan.records), cleanup=(*cleanup, Undo(node, forget))
        )

    async def _stop(self, plan: RemovePlan, steps: Steps) -> None:
        order = GuestStop(
            uuid=plan.instance.uuid,
            hypervisor=plan.instance.hypervisor,
            timeout=float(self.shutdown_timeout),
        )
        try:
            await steps.do(
                "stop-guest",
                plan.instance.primary_node,
                order,
                undo=checks.back_up(plan.instance, plan.spec, plan.running),
                timeout=self.shutdown_timeout + timeouts.GUEST_START,
            )
        except GantryError as error:
            if not self.ignore_failures:
                raise
            steps.warn(f"could not stop it: {error}")
