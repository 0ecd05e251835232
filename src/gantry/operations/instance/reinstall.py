"""Install an instance again, with the same or another OS: ``gnt-instance reinstall``."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import timeouts
from gantry.model.entities import AnyEntity, Instance
from gantry.model.errors import Cancelled, GantryError, OperationFailed, Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.orders import OsRun, OsVerify
from gantry.model.replicas import MirrorChange
from gantry.model.snapshot import Claim, Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import checks, installing, mirrors, oses, specs
from gantry.operations.steps.installing import Installing
from gantry.ports.steps import Changes, Outcome, Steps

FAILED_INSTALL = oses.FAILED_INSTALL


class ReinstallPlan(Plan, frozen=True, kw_only=True):
    """``after`` is the instance once that has succeeded, ``told`` what its scripts are told."""

    before: Instance
    after: Instance
    told: OsRun
    installing: Installing
    written: tuple[MirrorChange, ...] = ()
    """What becomes of other replicas, since the script writes to the primary's alone."""


class InstanceReinstall(Operation[ReinstallPlan], frozen=True, kw_only=True):
    """OS parameters are for this once, unless ``store_osparams``; secret ones travel beside it."""

    opcode: ClassVar[str] = "OP_INSTANCE_REINSTALL"
    plan_type: ClassVar[type[Plan]] = ReinstallPlan

    instance_name: str
    instance_uuid: str | None = None
    os_type: str | None = None
    force_variant: bool = False
    osparams: dict[str, str] = {}
    osparams_private: dict[str, str] = {}
    store_osparams: bool = False
    debug_level: int = 0
    helper_startup_timeout: int | None = None
    helper_shutdown_timeout: int | None = None

    def summary(self) -> str:
        return f"INSTANCE_REINSTALL({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        return checks.instance_locks(cluster.instance(self.instance_name))

    def check(self, cluster: Snapshot, given: Given) -> ReinstallPlan:
        before = cluster.instance(self.instance_name)
        what = f"reinstall instance {before.name}"
        if not before.disks:
            raise Rejected(
                f"cannot {what}: it has no disks", reason=Reason.STATE, object_name=before.name
            )
        os = self.os_type or before.os
        node = cluster.nodes[before.primary_node]
        checks.node_usable(cluster, node, what)
        checks.stopped(cluster, before, what)
        for uuid in oses.verifying(cluster, before) if os else ():
            oses.installable(cluster, os, cluster.nodes[uuid])
        public = oses.changed_parameters(before.osparams, self.osparams)
        private = oses.changed_parameters(before.osparams_private, self.osparams_private)
        oses.disjoint(public, private)
        once = msgspec.structs.replace(before, os=os, osparams=public, osparams_private=private)
        kept = once if self.store_osparams else msgspec.structs.replace(before, os=os)
        shown = cluster.with_changes(cluster.revision, [once])
        patience = installing.Patience(
            startup=self.helper_startup_timeout, shutdown=self.helper_shutdown_timeout
        )
        how = installing.plan(shown, once, patience, self.debug_level)
        if not how:
            raise Rejected(
                f"instance {before.name} has no OS",
                "give one with -o (see gnt-os list), or an image with -O os-image=FILE|URL",
            )
        checks.memory_fits(cluster, node, how.memory, f"the installation of {before.name}")
        tags = tuple(tag for tag in before.tags if tag != FAILED_INSTALL)
        after = checks.changed(kept, given.now, tags=tags)
        return ReinstallPlan(
            before=before,
            after=after,
            told=specs.os_run(shown, once, self.debug_level),
            installing=how,
            written=mirrors.written(cluster, before),
            claims=(Claim(node=node.uuid, memory=how.memory),),
        )

    async def examine(self, plan: ReinstallPlan, cluster: Snapshot, ask: Examiner) -> ReinstallPlan:
        oses.disjoint(plan.told.parameters, plan.told.private_parameters, ask.secrets)
        verify = OsVerify(
            os=plan.told.os,
            parameters=plan.told.parameters,
            private_parameters=plan.told.private_parameters,
            secret_parameters=ask.secrets,
            force_variant=self.force_variant,
        )
        for uuid in oses.verifying(cluster, plan.before) if plan.told.os else ():
            await ask.ask(uuid, verify, timeouts.OS_VERIFY)
        await installing.examine(plan.installing, plan.before, ask)
        return plan

    def subject(self, plan: ReinstallPlan, cluster: Snapshot) -> Subject:
        return Subject(kind=SubjectKind.INSTANCE, instance=cluster.instances[plan.before.uuid])

    def remains(self, plan: ReinstallPlan, begun: frozenset[str]) -> tuple[AnyEntity, ...]:
        # A job that was cancelled, or could not go on, in the middle of the script.
        return (_marked(plan),) if begun.intersection(installing.STEPS) else ()

    async def run(self, plan: ReinstallPlan, steps: Steps) -> Outcome:
        if plan.before.os != plan.after.os:
            steps.log(f"changing the OS from {plan.before.os or 'none'} to {plan.after.os}")
        if self.osparams or self.osparams_private:
            kept = "kept with the instance" if self.store_osparams else "used this once, not kept"
            steps.log(f"the OS parameters that were given are {kept}")
        try:
            first = Changes(mirrors=plan.written)
            await installing.carry_out(
                plan.installing, plan.before, steps, reinstall=True, first=first
            )
        except (Cancelled, Rejected):
            # Refused: nothing has begun.
            raise
        except GantryError as error:
            return _unsure(plan, error, steps)
        return Outcome(put=(plan.after,))


def _unsure(plan: ReinstallPlan, error: GantryError, steps: Steps) -> Outcome:
    """The script may have done anything to the disks: nobody may take them for what they were."""
    steps.warn(
        f"what is on the disks of {plan.after.name} is not known now: it stays down, with tag "
        f"{FAILED_INSTALL}; reinstall it again once the cause is mended"
    )
    failed = error if isinstance(error, OperationFailed) else _not_known(plan, error)
    return Outcome(put=(_marked(plan),), error=failed.info())


def _marked(plan: ReinstallPlan) -> Instance:
    tags = tuple(sorted({*plan.after.tags, FAILED_INSTALL}))
    return msgspec.structs.replace(plan.after, tags=tags)


def _not_known(plan: ReinstallPlan, error: GantryError) -> OperationFailed:
    return OperationFailed(
        f"whether {plan.after.name} is reinstalled is not known: {error.message}",
        error.hint or "see the script's log on its node",
        reason=Reason.ENVIRONMENT,
        node=error.node,
        object_name=plan.after.name,
    )
