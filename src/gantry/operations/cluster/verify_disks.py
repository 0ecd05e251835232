"""Are all disks as they should be: ``gnt-cluster verify-disks``."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import msgspec

from gantry.model import locks, timeouts
from gantry.model.errors import GantryError
from gantry.model.jobs import LogKind
from gantry.model.locks import Needs
from gantry.model.names import Uuid
from gantry.model.replica_orders import ReadReplicas, ReplicaSeen
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import measuring, mirrors, redundancy, specs, verification
from gantry.operations.steps.finding import Finding
from gantry.ports.steps import Outcome, Steps


class VerifyDisksPlan(Plan, frozen=True, kw_only=True):
    """``disks`` is how many there are, ``mirrored`` how many of them are."""

    disks: int
    mirrored: int
    findings: tuple[Finding, ...] = ()


class ClusterVerifyDisks(Operation[VerifyDisksPlan], frozen=True, kw_only=True):
    """The result is False where something is not in sync, or not what the records say."""

    opcode: ClassVar[str] = "OP_CLUSTER_VERIFY_DISKS"
    hooked: ClassVar[bool] = False
    plan_type: ClassVar[type[Plan]] = VerifyDisksPlan

    group_name: str | None = None
    is_strict: bool = True

    def needs(self, cluster: Snapshot) -> Needs:
        return Needs.of(shared=[locks.CLUSTER])

    def check(self, cluster: Snapshot, given: Given) -> VerifyDisksPlan:
        if self.group_name:
            cluster.group(self.group_name)
        found = [*redundancy.configuration(cluster), *redundancy.degraded(cluster)]
        return VerifyDisksPlan(
            disks=sum(len(one.disks) for one in cluster.instances.values()),
            mirrored=len(cluster.mirrors),
            findings=tuple(found),
        )

    async def examine(
        self, plan: VerifyDisksPlan, cluster: Snapshot, ask: Examiner
    ) -> VerifyDisksPlan:
        nodes = [
            uuid
            for uuid in redundancy.wanted(cluster)
            if mirrors.there(cluster, cluster.nodes[uuid])
        ]
        answers = await asyncio.gather(*(_ask(ask, uuid, cluster) for uuid in nodes))
        seen = redundancy.seen(cluster, dict(zip(nodes, answers, strict=True)))
        files = measuring.findings(cluster, await measuring.read(ask, cluster))
        found = verification.shortened([*plan.findings, *seen, *files])
        return msgspec.structs.replace(plan, findings=tuple(found))

    async def run(self, plan: VerifyDisksPlan, steps: Steps) -> Outcome:
        steps.log(f"Verified {plan.disks} disk(s), of which {plan.mirrored} are mirrored")
        for one in plan.findings:
            kind = LogKind.MESSAGE if one.level == "NOTICE" else LogKind.WARNING
            steps.log(f"  - {one.level}: {one.kind} {one.item}: {one.message}", kind)
        return Outcome(result=not any(one.level == "ERROR" for one in plan.findings))


async def _ask(
    ask: Examiner, node: Uuid, cluster: Snapshot
) -> tuple[ReplicaSeen, ...] | GantryError:
    disks = tuple(specs.disk(index, disk) for _, index, disk in redundancy.wanted(cluster)[node])
    try:
        said = await ask.ask(node, ReadReplicas(disks=disks), timeouts.FAST)
    except GantryError as error:
        return error
    return said.replicas
