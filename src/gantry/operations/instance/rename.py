"""Give an instance another name: ``gnt-instance rename``."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import ClassVar

import msgspec

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import locks, names
from gantry.model.entities import Disk, Instance
from gantry.model.errors import Rejected
from gantry.model.locks import Needs
from gantry.model.names import Uuid
from gantry.model.orders import DiskMove, GuestForget, OsRun
from gantry.model.replicas import MirrorChange
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import checks, mirrors, os_rename, requests, resolving, specs
from gantry.ports.steps import Outcome, Steps, Undo


class RenamePlan(Plan, frozen=True, kw_only=True):
    """``script`` is None where the instance has no OS definition; ``holders`` are the nodes
    with a copy of each disk, the primary first.
    """

    before: Instance
    after: Instance
    script: OsRun | None
    holders: tuple[tuple[Uuid, ...], ...] = ()
    written: tuple[MirrorChange, ...] = ()
    """What becomes of other replicas when the script writes to the primary's."""


class InstanceRename(Operation[RenamePlan], frozen=True, kw_only=True):
    """The files of its disks follow the name; the guest's own system by the rename script."""

    opcode: ClassVar[str] = "OP_INSTANCE_RENAME"
    plan_type: ClassVar[type[Plan]] = RenamePlan

    instance_name: str
    new_name: str
    instance_uuid: str | None = None
    name_check: bool | None = None
    ip_check: bool | None = None
    debug_level: int = 0

    def summary(self) -> str:
        return f"INSTANCE_RENAME({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        instance = cluster.instance(self.instance_name)
        name = names.host_name(self.new_name, "the new name of an instance")
        return Needs.of(
            shared=[locks.CLUSTER, *(locks.node(uuid) for uuid in checks.all_nodes(instance))],
            exclusive=[locks.instance(instance.uuid), locks.instance(name)],
        )

    def check(self, cluster: Snapshot, given: Given) -> RenamePlan:
        before = cluster.instance(self.instance_name)
        name = names.host_name(self.new_name, "the new name of an instance")
        if name == before.name:
            raise Rejected(f"nothing to change: instance {name} is called that already")
        requests.new_name(name, cluster)
        what = f"rename instance {before.name}"
        for uuid in checks.all_nodes(before):
            checks.node_usable(cluster, cluster.nodes[uuid], what)
        checks.stopped(cluster, before, what)
        disks = tuple(_moved(disk, before.name, name) for disk in before.disks)
        after = checks.changed(before, given.now, name=name, disks=disks)
        renamed = cluster.with_changes(cluster.revision, [after])
        return RenamePlan(
            before=before,
            after=after,
            script=specs.os_run(renamed, after, self.debug_level) if after.os else None,
            holders=mirrors.holders(cluster, before),
            written=mirrors.written(cluster, before),
            reserve=(f"name/{name}",),
        )

    async def examine(self, plan: RenamePlan, cluster: Snapshot, ask: Examiner) -> RenamePlan:
        settings = cluster.cluster
        ping = settings.ip_check if self.ip_check is None else self.ip_check
        if settings.name_check if self.name_check is None else self.name_check:
            await resolving.name_resolves(plan.after.name, cluster, ask, ping)
        elif self.ip_check:
            raise Rejected(
                "the address of a name that is not looked up cannot be checked",
                "leave --no-name-check or --ip-check out",
            )
        return plan

    def subject(self, plan: RenamePlan, cluster: Snapshot) -> Subject:
        # As Ganeti has it, the object keeps its old name, also in what is told afterwards.
        now = msgspec.structs.replace(cluster.instances[plan.before.uuid], name=plan.before.name)
        return Subject(
            kind=SubjectKind.INSTANCE,
            instance=now,
            values={"INSTANCE_NEW_NAME": plan.after.name},
        )

    async def run(self, plan: RenamePlan, steps: Steps) -> Outcome:
        before, after = plan.before, plan.after
        node = before.primary_node
        for old, new in zip(specs.disks(before), specs.disks(after), strict=True):
            if old.path != new.path:
                for uuid in plan.holders[old.index]:
                    name = f"move-disk/{old.index}" + ("" if uuid == node else f"/{uuid}")
                    move = DiskMove(disk=old, path=new.path)
                    undo = DiskMove(disk=new, path=old.path)
                    await steps.do(name, uuid, move, undo=undo)
        if plan.script is not None:
            await os_rename.tell_new_name(steps, plan.script, before.name, first=plan.written)
        # What the node keeps of the guest's last run has the old name: its record, its console.
        forget = GuestForget(uuid=before.uuid, hypervisor=before.hypervisor)
        return Outcome(put=(after,), result=after.name, cleanup=(Undo(node, forget),))


def _moved(disk: Disk, old: str, new: str) -> Disk:
    """The disk as it is when its directory, if that has the instance's name, has the new one."""
    path = PurePosixPath(disk.path)
    if path.parent.name != old:
        return disk
    moved = path.parent.with_name(new) / path.name
    return msgspec.structs.replace(disk, path=str(moved))
