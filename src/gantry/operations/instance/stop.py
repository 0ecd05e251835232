"""Stop an instance: ``gnt-instance shutdown``."""

from __future__ import annotations

from typing import ClassVar

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import timeouts
from gantry.model.entities import AdminState, Instance
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.orders import GuestSpec, GuestStop
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Given, Operation, Plan
from gantry.operations.steps import checks, mirroring, mirrors, specs
from gantry.ports.steps import Outcome, Steps


class StopPlan(Plan, frozen=True, kw_only=True):
    """``reach`` is False where the node is offline and only the mark changes."""

    instance: Instance
    reach: bool
    running: bool
    spec: GuestSpec
    mirroring: mirrors.Mirroring | None = None


class InstanceStop(Operation[StopPlan], frozen=True, kw_only=True):
    """Ask the guest to shut down; after ``timeout`` seconds it is powered off."""

    opcode: ClassVar[str] = "OP_INSTANCE_SHUTDOWN"
    plan_type: ClassVar[type[Plan]] = StopPlan

    instance_name: str
    instance_uuid: str | None = None
    force: bool = False
    ignore_offline_nodes: bool = False
    timeout: int = int(timeouts.SHUTDOWN)
    no_remember: bool = False
    admin_state_source: str = "admin"

    def summary(self) -> str:
        return f"INSTANCE_SHUTDOWN({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        return checks.instance_locks(cluster.instance(self.instance_name))

    def check(self, cluster: Snapshot, given: Given) -> StopPlan:
        if not 0 <= self.timeout <= 86400:
            raise Rejected(f"the time limit is 0 to 86400 seconds, not {self.timeout}")
        if self.admin_state_source not in ("admin", "user"):
            raise Rejected("who wants it down is admin or user")
        instance = cluster.instance(self.instance_name)
        running = checks.running(cluster, instance)
        if running and self.admin_state_source == "user":
            # Supervision saw it shut down from inside; somebody has started it since.
            raise Rejected(f"instance {instance.name} is running again", reason=Reason.STATE)
        if not self.force:
            checks.not_offline(instance)
        node = cluster.nodes[instance.primary_node]
        reach = not (node.offline and self.ignore_offline_nodes)
        if reach:
            checks.node_usable(cluster, node, f"stop instance {instance.name}")
        return StopPlan(
            instance=instance,
            reach=reach,
            running=running,
            spec=specs.guest(cluster.cluster, instance),
            mirroring=mirrors.of(cluster, instance),
        )

    def subject(self, plan: StopPlan, cluster: Snapshot) -> Subject:
        return Subject(
            kind=SubjectKind.INSTANCE,
            instance=cluster.instances[plan.instance.uuid],
            values={"TIMEOUT": self.timeout},
        )

    async def run(self, plan: StopPlan, steps: Steps) -> Outcome:
        if plan.reach:
            steps.log(f"stopping instance {plan.instance.name}")
            order = GuestStop(
                uuid=plan.instance.uuid,
                hypervisor=plan.instance.hypervisor,
                timeout=float(self.timeout),
                force=self.force,
            )
            undo = checks.back_up(plan.instance, plan.spec, plan.running)
            await steps.do(
                "stop-guest",
                plan.instance.primary_node,
                order,
                undo=undo,
                timeout=self.timeout + timeouts.GUEST_START,
            )
            await mirroring.close_all(steps, plan.mirroring)
        else:
            steps.warn("its node is offline: only marked as down")
        if self.no_remember or plan.instance.admin_state is not AdminState.UP:
            return Outcome()
        down = checks.changed(
            plan.instance,
            steps.now,
            admin_state=AdminState.DOWN,
            admin_state_source=self.admin_state_source,
        )
        return Outcome(put=(down,))
