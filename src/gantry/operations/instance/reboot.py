"""Reboot an instance: ``gnt-instance reboot``."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import timeouts
from gantry.model.entities import AdminState, Instance
from gantry.model.errors import Rejected
from gantry.model.locks import Needs
from gantry.model.orders import GuestReset, GuestSpec, GuestStart, GuestStop, RebootKind
from gantry.model.snapshot import Claim, Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import checks, mirroring, mirrors, specs
from gantry.ports.steps import Outcome, Steps


class RebootPlan(Plan, frozen=True, kw_only=True):
    """``running`` decides whether there is anything to reset or to stop."""

    instance: Instance
    spec: GuestSpec
    running: bool
    mirroring: mirrors.Mirroring | None = None


class InstanceReboot(Operation[RebootPlan], frozen=True, kw_only=True):
    """``soft`` resets the guest within its process; ``hard`` and ``full`` make a new process."""

    opcode: ClassVar[str] = "OP_INSTANCE_REBOOT"
    plan_type: ClassVar[type[Plan]] = RebootPlan

    instance_name: str
    instance_uuid: str | None = None
    reboot_type: RebootKind = RebootKind.HARD
    ignore_secondaries: bool = False
    shutdown_timeout: int = int(timeouts.SHUTDOWN)

    def summary(self) -> str:
        return f"INSTANCE_REBOOT({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        return checks.instance_locks(cluster.instance(self.instance_name))

    def check(self, cluster: Snapshot, given: Given) -> RebootPlan:
        if not 0 <= self.shutdown_timeout <= 86400:
            raise Rejected(f"the time limit is 0 to 86400 seconds, not {self.shutdown_timeout}")
        instance = cluster.instance(self.instance_name)
        checks.not_offline(instance)
        node = cluster.nodes[instance.primary_node]
        checks.node_usable(cluster, node, f"reboot instance {instance.name}")
        spec = specs.guest(cluster.cluster, instance)
        checks.nowhere_else(cluster, instance)
        more = checks.uncounted(cluster, instance, spec.memory)
        checks.memory_fits(cluster, node, more, f"instance {instance.name}")
        return RebootPlan(
            instance=instance,
            spec=spec,
            running=checks.running(cluster, instance),
            mirroring=mirrors.of(cluster, instance),
            claims=(Claim(node=node.uuid, memory=more),) if more else (),
        )

    async def examine(self, plan: RebootPlan, cluster: Snapshot, ask: Examiner) -> RebootPlan:
        if plan.mirroring is None or plan.running:
            return plan
        purpose = f"start instance {plan.instance.name}"
        found = await mirrors.examined(plan.mirroring, plan.instance, ask, purpose)
        return msgspec.structs.replace(plan, mirroring=found)

    def subject(self, plan: RebootPlan, cluster: Snapshot) -> Subject:
        return Subject(
            kind=SubjectKind.INSTANCE,
            instance=cluster.instances[plan.instance.uuid],
            values={
                "IGNORE_SECONDARIES": self.ignore_secondaries,
                "REBOOT_TYPE": self.reboot_type.value,
                "SHUTDOWN_TIMEOUT": self.shutdown_timeout,
            },
        )

    async def run(self, plan: RebootPlan, steps: Steps) -> Outcome:
        node, spec = plan.instance.primary_node, plan.spec
        steps.log(f"rebooting instance {plan.instance.name} ({self.reboot_type})")
        if plan.running and self.reboot_type is RebootKind.SOFT:
            await steps.do(
                "reset-guest", node, GuestReset(uuid=spec.uuid, hypervisor=spec.hypervisor)
            )
        else:
            await self._anew(plan, steps)
        if plan.instance.admin_state is AdminState.UP:
            return Outcome()
        up = checks.changed(plan.instance, steps.now, admin_state=AdminState.UP)
        return Outcome(put=(up,))

    async def _anew(self, plan: RebootPlan, steps: Steps) -> None:
        node, spec, mirrored = plan.instance.primary_node, plan.spec, plan.mirroring
        stop = GuestStop(
            uuid=spec.uuid, hypervisor=spec.hypervisor, timeout=float(self.shutdown_timeout)
        )
        if plan.running:
            await steps.do(
                "stop-guest",
                node,
                stop,
                undo=GuestStart(spec=spec) if mirrored is None else None,
                timeout=self.shutdown_timeout + timeouts.GUEST_START,
            )
            if mirrored is not None:
                mirrored = await mirroring.looked(steps, mirrored, plan.instance.name)
        undo = GuestStop(uuid=spec.uuid, hypervisor=spec.hypervisor, timeout=0, force=True)
        await mirroring.start(steps, node, GuestStart(spec=spec), mirrored, undo)
