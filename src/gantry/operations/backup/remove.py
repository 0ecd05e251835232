"""Remove an export, wherever it is: ``gnt-backup remove``."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from gantry.model import locks, names, timeouts
from gantry.model.backup_orders import EXPORT_DIRECTORY, ExportRemove, ReadExports
from gantry.model.errors import Reason, Rejected, Unavailable
from gantry.model.locks import Needs
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.ports.steps import Outcome, Steps, Undo


class BackupRemovePlan(Plan, frozen=True, kw_only=True):
    """``name`` is the instance's; ``nodes`` have an export of it, which was made at ``times``."""

    name: str
    nodes: tuple[Uuid, ...]
    times: tuple[float, ...] = ()


class BackupRemove(Operation[BackupRemovePlan], frozen=True, kw_only=True):
    """The instance need not exist any more: then its whole name is needed."""

    opcode: ClassVar[str] = "OP_BACKUP_REMOVE"
    hooked: ClassVar[bool] = False
    plan_type: ClassVar[type[Plan]] = BackupRemovePlan

    instance_name: str
    instance_uuid: str | None = None

    def summary(self) -> str:
        return f"BACKUP_REMOVE({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        name = self._name(cluster)
        known = cluster.instance_names.get(name)
        return Needs.of(
            shared=[locks.CLUSTER, *(locks.node(uuid) for uuid in cluster.nodes)],
            exclusive=[locks.instance(known if known is not None else name)],
        )

    def check(self, cluster: Snapshot, given: Given) -> BackupRemovePlan:
        nodes = tuple(
            node.uuid
            for node in cluster.nodes.values()
            if not node.offline and cluster.node_live(node.uuid).reachable
        )
        return BackupRemovePlan(name=self._name(cluster), nodes=nodes)

    async def examine(
        self, plan: BackupRemovePlan, cluster: Snapshot, ask: Examiner
    ) -> BackupRemovePlan:
        found: dict[Uuid, float] = {}
        elsewhere: list[str] = []
        for node in plan.nodes:
            try:
                answer = await ask.ask(node, ReadExports(), timeouts.URGENT)
            except Unavailable as error:
                ask.warn(f"exports of {cluster.nodes[node].name} are not known: {error.message}")
                continue
            for one in answer.exports:
                if one.name == plan.name and one.directory == EXPORT_DIRECTORY:
                    found[node] = one.time
                elif one.name == plan.name:
                    elsewhere.append(f"{one.directory}/{one.name} of {cluster.nodes[node].name}")
        if elsewhere:
            ask.warn(f"not removed, since it is Ganeti's: {', '.join(elsewhere)}")
        if not found:
            raise Rejected(
                f"no node has an export of {plan.name}",
                "gnt-backup list shows all; give the whole name of an instance that is removed",
                reason=Reason.UNKNOWN,
                object_name=plan.name,
            )
        return msgspec.structs.replace(plan, nodes=tuple(found), times=tuple(found.values()))

    async def run(self, plan: BackupRemovePlan, steps: Steps) -> Outcome:
        times = plan.times or (None,) * len(plan.nodes)
        return Outcome(
            cleanup=tuple(
                Undo(node, ExportRemove(instance=plan.name, before=time))
                for node, time in zip(plan.nodes, times, strict=True)
            )
        )

    def _name(self, cluster: Snapshot) -> str:
        try:
            return cluster.instance(self.instance_name).name
        except Rejected:
            return names.host_name(self.instance_name, "the name of an instance")
