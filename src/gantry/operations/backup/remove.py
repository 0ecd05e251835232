"""Remove an export, wherever it is: ``gnt-backup remove``."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from gantry.model import locks, names, timeouts
from gantry.model.backup_orders import (
    EXPORT_DIRECTORY,
    ExportDiscard,
    ExportFacts,
    ExportSettle,
    ReadExports,
)
from gantry.model.errors import Reason, Rejected, Unavailable
from gantry.model.increment_orders import ExportAside, ExportPrune, ExportReplace, ExportRestore
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
    point: int | None = None


class BackupRemove(Operation[BackupRemovePlan], frozen=True, kw_only=True):
    """The instance need not exist any more: then its whole name is needed."""

    opcode: ClassVar[str] = "OP_BACKUP_REMOVE"
    hooked: ClassVar[bool] = False
    plan_type: ClassVar[type[Plan]] = BackupRemovePlan

    instance_name: str
    instance_uuid: str | None = None
    point: int | None = None

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
        for node, one in await self._of(plan, cluster, ask):
            if one.directory != EXPORT_DIRECTORY:
                elsewhere.append(f"{one.directory}/{one.name} of {cluster.nodes[node].name}")
            elif self._meant(one):
                found[node] = one.time
        if elsewhere:
            ask.warn(f"not removed, since it is Ganeti's: {', '.join(elsewhere)}")
        if not found:
            raise Rejected(
                f"no node has {self._what()} of {plan.name}",
                "gnt-backup list shows all; give the whole name of an instance that is removed",
                reason=Reason.UNKNOWN,
                object_name=plan.name,
            )
        if self.point is not None and len(found) > 1:
            where = ", ".join(cluster.nodes[node].name for node in found)
            raise Rejected(
                f"several nodes have point {self.point} of an export of {plan.name}: {where}",
                "remove one of the exports by hand, and the rest with this",
                reason=Reason.STATE,
                object_name=plan.name,
            )
        return msgspec.structs.replace(
            plan, nodes=tuple(found), times=tuple(found.values()), point=self.point
        )

    async def run(self, plan: BackupRemovePlan, steps: Steps) -> Outcome:
        if plan.point is not None:
            return await _pruned(plan, plan.nodes[0], plan.point, steps)
        for number, (node, time) in enumerate(zip(plan.nodes, plan.times, strict=True)):
            # Not owed to a node that dies: it would still be there for the next export.
            await steps.do(
                f"remove/{number}",
                node,
                ExportAside(instance=plan.name, before=time),
                undo=ExportRestore(instance=plan.name),
            )
        return Outcome(
            cleanup=tuple(Undo(node, ExportSettle(instance=plan.name)) for node in plan.nodes)
        )

    async def _of(
        self, plan: BackupRemovePlan, cluster: Snapshot, ask: Examiner
    ) -> list[tuple[Uuid, ExportFacts]]:
        """All exports of that name, each with its node."""
        found: list[tuple[Uuid, ExportFacts]] = []
        for node in plan.nodes:
            try:
                answer = await ask.ask(node, ReadExports(), timeouts.URGENT)
            except Unavailable as error:
                ask.warn(f"exports of {cluster.nodes[node].name} are not known: {error.message}")
                continue
            found += [(node, one) for one in answer.exports if one.name == plan.name]
        return found

    def _meant(self, one: ExportFacts) -> bool:
        """Whether it is one to be removed (of)."""
        if self.point is None:
            return True
        points = [point.number for point in one.points]
        if self.point in points and len(points) == 1:
            raise Rejected(
                f"point {self.point} is all that the export of {one.name} has",
                f"gnt-backup remove {one.name} removes the export",
                reason=Reason.STATE,
                object_name=one.name,
            )
        return self.point in points

    def _what(self) -> str:
        return "an export" if self.point is None else f"a point {self.point} of an export"

    def _name(self, cluster: Snapshot) -> str:
        try:
            return cluster.instance(self.instance_name).name
        except Rejected:
            return names.host_name(self.instance_name, "the name of an instance")


async def _pruned(plan: BackupRemovePlan, node: Uuid, point: int, steps: Steps) -> Outcome:
    """Without the point; what rested on it is made anew first, beside it."""
    steps.log(f"removing point {point} of the export of {plan.name}; the others stay")
    await steps.do(
        "prune",
        node,
        ExportPrune(instance=plan.name, point=point),
        undo=ExportDiscard(instance=plan.name),
        timeout=timeouts.TRANSFER,
    )
    await steps.do(
        "replace",
        node,
        ExportReplace(instance=plan.name, point=point),
        undo=ExportRestore(instance=plan.name, point=point),
    )
    return Outcome(cleanup=(Undo(node, ExportSettle(instance=plan.name)),))
