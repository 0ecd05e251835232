"""Start an instance: ``gnt-instance startup``."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model.entities import AdminState, HypervisorName, Instance, Parameters
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.orders import GuestSpec, GuestStart, GuestStop
from gantry.model.parameters import BACKEND, HYPERVISOR, check
from gantry.model.snapshot import Claim, Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import checks, mirroring, mirrors, oses, specs
from gantry.ports.steps import Outcome, Steps


class StartPlan(Plan, frozen=True, kw_only=True):
    """``spec`` is None where nothing is to be started: it runs, or its node is offline."""

    instance: Instance
    spec: GuestSpec | None
    remember: bool
    note: str = ""
    mirroring: mirrors.Mirroring | None = None


class InstanceStart(Operation[StartPlan], frozen=True, kw_only=True):
    """``hvparams`` and ``beparams`` are for this start only and are not kept.

    ``if_needed`` is supervision's: it is Rejected where the instance is not to be up any more.
    """

    opcode: ClassVar[str] = "OP_INSTANCE_STARTUP"
    plan_type: ClassVar[type[Plan]] = StartPlan

    instance_name: str
    instance_uuid: str | None = None
    force: bool = False
    ignore_offline_nodes: bool = False
    hvparams: dict[str, str | int | float | bool | None] = {}
    beparams: dict[str, str | int | float | bool | None] = {}
    no_remember: bool = False
    startup_paused: bool = False
    shutdown_timeout: int = 120
    if_needed: bool = False

    def summary(self) -> str:
        return f"INSTANCE_STARTUP({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        return checks.instance_locks(cluster.instance(self.instance_name))

    def check(self, cluster: Snapshot, given: Given) -> StartPlan:
        instance = cluster.instance(self.instance_name)
        checks.not_offline(instance)
        if self.if_needed and instance.admin_state is not AdminState.UP:
            raise Rejected(f"instance {instance.name} is not to be up", reason=Reason.STATE)
        hvparams, beparams = self._once(instance.hypervisor)
        node = cluster.nodes[instance.primary_node]
        if node.offline and self.ignore_offline_nodes:
            if self.no_remember:
                raise Rejected(
                    "nothing to do: the node is offline and --no-remember keeps the state as it is",
                    reason=Reason.STATE,
                )
            note = f"node {node.name} is offline: only marked as to be up"
            return StartPlan(instance=instance, spec=None, remember=True, note=note)
        checks.node_usable(cluster, node, f"start instance {instance.name}")
        checks.nowhere_else(cluster, instance)
        remember = not self.no_remember
        if checks.running(cluster, instance):
            note = f"instance {instance.name} is running already"
            return StartPlan(instance=instance, spec=None, remember=remember, note=note)
        spec = specs.guest(cluster.cluster, instance, hvparams, beparams)
        more = checks.uncounted(cluster, instance, spec.memory)
        checks.memory_fits(cluster, node, more, f"instance {instance.name}")
        claims = (Claim(node=node.uuid, memory=more),) if more else ()
        return StartPlan(
            instance=instance,
            spec=spec,
            remember=remember,
            claims=claims,
            mirroring=mirrors.of(cluster, instance),
        )

    async def examine(self, plan: StartPlan, cluster: Snapshot, ask: Examiner) -> StartPlan:
        if plan.mirroring is None:
            return plan
        purpose = f"start instance {plan.instance.name}"
        found = await mirrors.examined(plan.mirroring, plan.instance, ask, purpose)
        return msgspec.structs.replace(plan, mirroring=found)

    def subject(self, plan: StartPlan, cluster: Snapshot) -> Subject:
        return Subject(
            kind=SubjectKind.INSTANCE,
            instance=cluster.instances[plan.instance.uuid],
            values={"FORCE": self.force},
            seed_values={"FORCE": True if self.force else None},
        )

    async def run(self, plan: StartPlan, steps: Steps) -> Outcome:
        if plan.spec is None:
            steps.warn(plan.note)
        else:
            steps.log(f"starting instance {plan.instance.name}")
            if oses.FAILED_INSTALL in plan.instance.tags:
                steps.warn(
                    f"its last installation failed (tag {oses.FAILED_INSTALL}): what is on its "
                    "disks is not known; gnt-instance reinstall makes them anew"
                )
            stop = GuestStop(
                uuid=plan.spec.uuid, hypervisor=plan.spec.hypervisor, timeout=0, force=True
            )
            order = GuestStart(spec=plan.spec, paused=self.startup_paused)
            node = plan.instance.primary_node
            await mirroring.start(steps, node, order, plan.mirroring, undo=stop)
        if not plan.remember or plan.instance.admin_state is AdminState.UP:
            return Outcome()
        up = checks.changed(
            plan.instance, steps.now, admin_state=AdminState.UP, admin_state_source="admin"
        )
        return Outcome(put=(up,))

    def _once(self, hypervisor: HypervisorName) -> tuple[Parameters, Parameters]:
        return (
            check(self.hvparams, HYPERVISOR[hypervisor], f"hypervisor {hypervisor}"),
            check(self.beparams, BACKEND, "an instance"),
        )
