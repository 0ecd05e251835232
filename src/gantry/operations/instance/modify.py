"""Change an instance: ``gnt-instance modify`` (also ``set``)."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import msgspec

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import names, timeouts
from gantry.model.entities import AdminState, DiskTemplate, Instance, Nic, ParameterValue
from gantry.model.errors import Reason, Rejected
from gantry.model.image_location import OS_IMAGE, untold
from gantry.model.locks import Needs
from gantry.model.orders import DiskCreate, DiskRemove, DiskSpec, OsVerify
from gantry.model.parameters import (
    BACKEND,
    HYPERVISOR,
    backend,
    check,
    merge,
    os_parameters,
)
from gantry.model.snapshot import Claim, Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import (
    checks,
    disk_changes,
    installing,
    mirrored_changes,
    mirroring,
    nics,
    oses,
    plugging,
    specs,
)
from gantry.operations.steps.mirrored_changes import Replicas
from gantry.ports.steps import Outcome, Steps, Undo

_NUMBER = re.compile(r"-?[0-9]{1,4}")


class NicChange(msgspec.Struct, frozen=True, array_like=True):
    """Ganeti's triple: ``add``, ``modify``, ``remove`` or ``attach``; which; how."""

    action: str
    which: int | str = -1
    request: nics.NicRequest = nics.NicRequest()


class ModifyPlan(Plan, frozen=True, kw_only=True):
    """``told`` are (what, new value) pairs for the operator; ``running`` asks for a restart."""

    before: Instance
    after: Instance
    told: tuple[tuple[str, Any], ...]
    running: bool
    made: tuple[DiskSpec, ...] = ()
    gone: tuple[DiskSpec, ...] = ()
    plugs: bool = False
    """Disks come to the guest that runs, and go from it."""
    replicas: Replicas | None = None
    """Of mirrored disks that come and go."""


class InstanceModify(Operation[ModifyPlan], frozen=True, kw_only=True):
    """What is set here holds from the next start on; ``default`` takes a setting away."""

    opcode: ClassVar[str] = "OP_INSTANCE_SET_PARAMS"
    plan_type: ClassVar[type[Plan]] = ModifyPlan

    instance_name: str
    instance_uuid: str | None = None
    beparams: dict[str, ParameterValue] = {}
    hvparams: dict[str, ParameterValue] = {}
    osparams: dict[str, str] = {}
    osparams_private: dict[str, str] = {}
    os_name: str | None = None
    nics: tuple[NicChange, ...] = ()
    disks: tuple[disk_changes.DiskChange, ...] = ()
    offline: bool | None = None
    force: bool = False
    force_variant: bool = False
    conflicts_check: bool = True
    ignore_ipolicy: bool = False
    hotplug: bool = False
    wait_for_sync: bool = True

    def summary(self) -> str:
        return f"INSTANCE_SET_PARAMS({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        return checks.instance_locks(cluster.instance(self.instance_name))

    def check(self, cluster: Snapshot, given: Given) -> ModifyPlan:
        before = cluster.instance(self.instance_name)
        running = checks.running(cluster, before)
        edited = disk_changes.apply(self.disks, before, given)
        wanted = msgspec.structs.replace(before, disks=edited.disks)
        replicas = mirrored_changes.plan(cluster, before, wanted, edited, given.now)
        self._disks(cluster, before, edited, running)
        after = msgspec.structs.replace(
            before,
            beparams=merge(before.beparams, check(self.beparams, BACKEND, "an instance")),
            hvparams=merge(before.hvparams, self._hvparams(before)),
            osparams=oses.changed_parameters(before.osparams, self.osparams),
            osparams_private=oses.changed_parameters(
                before.osparams_private, self.osparams_private
            ),
            os=self._os(cluster, before),
            nics=self._nics(cluster, given, before),
            disks=edited.disks,
            secondary_nodes=(replicas.after if replicas else before).secondary_nodes,
            admin_state=self._state(before, running),
        )
        oses.disjoint(after.osparams, after.osparams_private)
        if OS_IMAGE in {**self.osparams, **self.osparams_private}:
            installing.image_of(after)
        if msgspec.to_builtins(after) == msgspec.to_builtins(before):
            raise Rejected(
                f"nothing to change: instance {before.name} is like that already",
                "see gnt-instance modify --help for what can be set",
            )
        made = tuple(specs.disk(at, after.disks[at]) for at in edited.made)
        claims = (*self._memory(cluster, before, after), *_space(cluster, before, made))
        claims += replicas.claims if replicas else ()
        return ModifyPlan(
            before=before,
            after=checks.changed(after, given.now),
            told=tuple(_differences(before, after)),
            running=running,
            made=made,
            gone=tuple(specs.disk(at, one) for at, one in edited.gone),
            plugs=running and self.hotplug and bool(edited.made or edited.gone),
            replicas=replicas,
            reserve=self._reserve(before, after),
            claims=claims,
        )

    async def examine(self, plan: ModifyPlan, cluster: Snapshot, ask: Examiner) -> ModifyPlan:
        if (self.osparams or self.osparams_private) and plan.after.os:
            whole = cluster.cluster
            public = os_parameters(whole.osparams, plan.after.os, plan.after.osparams)
            private = os_parameters(
                whole.osparams_private, plan.after.os, plan.after.osparams_private
            )
            oses.disjoint(public, private)
            verify = OsVerify(
                os=plan.after.os,
                parameters=public,
                private_parameters=untold(private),
                force_variant=self.force_variant,
            )
            for node in oses.verifying(cluster, plan.after):
                await ask.ask(node, verify, timeouts.OS_VERIFY)
        return plan

    def subject(self, plan: ModifyPlan, cluster: Snapshot) -> Subject:
        now = cluster.instances[plan.before.uuid]
        return Subject(kind=SubjectKind.INSTANCE, instance=now, chosen=plan.after)

    async def run(self, plan: ModifyPlan, steps: Steps) -> Outcome:
        for what, value in plan.told:
            steps.log(f"{what}: {value}")
        replicas = plan.replicas
        ends: tuple[Undo, ...] = ()
        if plan.plugs:
            keep = replicas is not None
            ends = await plugging.unplug(steps, plan.before, plan.gone, keep=keep)
        for disk in plan.made:
            await steps.do(
                f"create-disk/{disk.index}",
                plan.before.primary_node,
                DiskCreate(disk=disk),
                undo=DiskRemove(disk=disk),
                timeout=timeouts.SLOW,
            )
        made = replicas.made if replicas is not None else None
        await mirroring.create_copies(steps, made)
        if plan.plugs:
            await plugging.plug(steps, plan.before, plan.made, made)
        later = [what for what, _ in plan.told if not (plan.plugs and _plugged(what))]
        if plan.running and later:
            steps.warn("the instance is running: what was changed takes effect at its next start")
        there = plan.before.primary_node
        gone = replicas.gone if replicas is not None else None
        return Outcome(
            put=(plan.after, *(replicas.records if replicas is not None else ())),
            delete=replicas.dropped if replicas is not None else (),
            result=[list(pair) for pair in plan.told],
            cleanup=(
                *ends,
                *(Undo(there, DiskRemove(disk=disk)) for disk in plan.gone),
                *mirroring.closing(gone),
                *mirroring.removing(gone),
            ),
        )

    def _hvparams(self, before: Instance) -> dict[str, ParameterValue]:
        what = f"hypervisor {before.hypervisor}"
        return check(self.hvparams, HYPERVISOR[before.hypervisor], what)

    def _disks(
        self, cluster: Snapshot, before: Instance, edited: disk_changes.Edited, running: bool
    ) -> None:
        """Disks are made and removed on a node that answers; and not under a guest's feet."""
        if not (edited.made or edited.gone):
            return
        what = f"change disks of instance {before.name}"
        checks.node_usable(cluster, cluster.nodes[before.primary_node], what)
        checks.nowhere_else(cluster, before)
        why = ""
        if running and not self.hotplug:
            # A guest has what its record says, or could not be moved and exported as it is.
            why = "it runs"
        elif running and not edited.last:
            why = "while it runs disks come and go at the end alone: the others keep their places"
        if why:
            raise Rejected(
                f"cannot {what}: {why}",
                f"stop it first: gnt-instance shutdown {before.name}; or give --hotplug, by which "
                "the guest gets and gives back its last disks",
                reason=Reason.STATE,
                object_name=before.name,
            )

    def _os(self, cluster: Snapshot, before: Instance) -> str:
        if self.os_name is None:
            return before.os
        if self.force:
            return names.os_name(self.os_name)
        return oses.installable(cluster, self.os_name, cluster.nodes[before.primary_node])

    def _state(self, before: Instance, running: bool) -> AdminState:
        if self.offline is None:
            return before.admin_state
        if self.offline and (running or before.admin_state is AdminState.UP):
            raise Rejected(
                f"instance {before.name} is up and cannot be marked offline",
                f"stop it first: gnt-instance shutdown {before.name}",
                reason=Reason.STATE,
                object_name=before.name,
            )
        if self.offline:
            return AdminState.OFFLINE
        offline = before.admin_state is AdminState.OFFLINE
        return AdminState.DOWN if offline else before.admin_state

    def _memory(self, cluster: Snapshot, before: Instance, after: Instance) -> tuple[Claim, ...]:
        filled = backend(cluster.cluster, after)
        if filled.minmem > filled.maxmem:
            raise Rejected(f"minmem {filled.minmem} is more than maxmem {filled.maxmem}")
        more = filled.maxmem - backend(cluster.cluster, before).maxmem
        if more <= 0 or after.admin_state is not AdminState.UP:
            return ()
        node = cluster.nodes[after.primary_node]
        if not self.force:
            checks.memory_fits(cluster, node, more, f"the change of instance {after.name}")
        return (Claim(node=node.uuid, memory=more),)

    def _reserve(self, before: Instance, after: Instance) -> tuple[str, ...]:
        had = set(nics.reservations(before.nics, conflicts=True))
        wanted = nics.reservations(after.nics, self.conflicts_check)
        return tuple(name for name in wanted if name not in had)

    def _nics(self, cluster: Snapshot, given: Given, before: Instance) -> tuple[Nic, ...]:
        found = list(before.nics)
        for change in self.nics:
            if change.action not in ("add", "modify", "remove"):
                raise Rejected(f"a NIC cannot be {change.action!r}", "use add, modify or remove")
            adds = change.action == "add"
            last = adds and change.which in (-1, "-1")
            at = len(found) if last else _index(change.which, found, adds)
            old = None if adds else found.pop(at)
            if change.action == "remove":
                continue
            others = nics.Others(
                cluster=cluster,
                given=given,
                beside=tuple(found),
                owner=before.uuid,
                conflicts=self.conflicts_check,
            )
            request = change.request
            found.insert(
                at, nics.apply(request, old, others) if old else nics.make(request, others)
            )
        if len(found) > nics.MAX_NICS:
            raise Rejected(f"an instance has at most {nics.MAX_NICS} NICs, not {len(found)}")
        return tuple(found)


def _index(which: int | str, found: list[Nic], inserting: bool) -> int:
    """The place of a NIC named by number (-1: the last), name or uuid; or Rejected."""
    text = str(which)
    number = int(text) if _NUMBER.fullmatch(text) else None
    if number is None:
        places = [at for at, nic in enumerate(found) if text in (nic.name, nic.uuid)]
        number = places[0] if places else len(found) + 1
    elif number == -1:
        number = len(found) - 1
    limit = len(found) if inserting else len(found) - 1
    if not 0 <= number <= limit:
        raise Rejected(f"the instance has no NIC {text}", f"it has {len(found)}, counted from 0")
    return number


def _space(cluster: Snapshot, instance: Instance, made: tuple[DiskSpec, ...]) -> tuple[Claim, ...]:
    """What new disks take of the node's own file system."""
    if not made or instance.disk_template is DiskTemplate.SHAREDFILE:
        return ()
    node = cluster.nodes[instance.primary_node]
    space = sum(disk.size for disk in made)
    checks.disk_fits(cluster, node, space, f"the change of instance {instance.name}")
    return (Claim(node=node.uuid, disk=space),)


def _plugged(what: str) -> bool:
    return what.startswith("disk/")


def _differences(before: Instance, after: Instance) -> list[tuple[str, Any]]:
    told: list[tuple[str, Any]] = []
    for prefix in ("beparams", "hvparams", "osparams"):
        old, new = getattr(before, prefix), getattr(after, prefix)
        label = {"beparams": "be", "hvparams": "hv", "osparams": "os"}[prefix]
        changed = {name for name in {*old, *new} if old.get(name) != new.get(name)}
        told += [(f"{label}/{name}", new.get(name, "default")) for name in sorted(changed)]
    private = {*before.osparams_private, *after.osparams_private}
    told += [
        (f"os_private/{name}", "<redacted>")
        for name in sorted(private)
        if before.osparams_private.get(name) != after.osparams_private.get(name)
    ]
    if before.os != after.os:
        told.append(("os", after.os))
    if before.admin_state != after.admin_state:
        told.append(("admin_state", after.admin_state.value))
    told += disk_changes.told(before, after)
    if before.nics != after.nics:
        shown = [f"{nic.mac} {nic.mode} {nic.link or '-'} {nic.ip or '-'}" for nic in after.nics]
        told.append(("nics", "; ".join(shown) or "none"))
    return told
