"""Is everything as it should be: ``gnt-cluster verify``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from gantry.hooks.subject import Subject, SubjectKind
from gantry.hooks.verdict import NodeScripts
from gantry.model import locks, timeouts
from gantry.model.entities import Instance, Node
from gantry.model.errors import Rejected, Unavailable
from gantry.model.jobs import LogKind
from gantry.model.locks import Needs
from gantry.model.orders import Inspect, Inspection
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import power, redundancy, verification
from gantry.operations.steps.verification import CODES, Finding
from gantry.ports.steps import Outcome, Steps


class VerifyPlan(Plan, frozen=True, kw_only=True):
    """What was found, in the order in which it is told."""

    now: float
    nodes: int
    instances: int
    findings: tuple[Finding, ...] = ()


class ClusterVerify(Operation[VerifyPlan], frozen=True, kw_only=True):
    """The result is False where an error was found; a failing hook script is one too."""

    opcode: ClassVar[str] = "OP_CLUSTER_VERIFY"
    plan_type: ClassVar[type[Plan]] = VerifyPlan

    debug_simulate_errors: bool = False
    error_codes: bool = False
    skip_checks: tuple[str, ...] = ()
    ignore_errors: tuple[str, ...] = ()
    verbose: bool = False
    group_name: str | None = None

    def needs(self, cluster: Snapshot) -> Needs:
        return Needs.of(shared=[locks.CLUSTER])

    def check(self, cluster: Snapshot, given: Given) -> VerifyPlan:
        unknown = sorted(set(self.ignore_errors) - CODES)
        if unknown:
            raise Rejected(
                f"there is no error code {', '.join(unknown)}",
                "known are " + ", ".join(sorted(CODES)),
            )
        nodes = self._nodes(cluster)
        return VerifyPlan(
            now=given.now,
            nodes=len(nodes),
            instances=len(cluster.instances),
            findings=tuple(verification.configuration(cluster, given.now)),
        )

    async def examine(self, plan: VerifyPlan, cluster: Snapshot, ask: Examiner) -> VerifyPlan:
        nodes = [node for node in self._nodes(cluster) if not node.offline]
        there, programs = cluster.instances_by_node(), power.programs(cluster)
        copies = redundancy.copies(cluster)
        answers = await asyncio.gather(
            *(
                _inspect(
                    ask,
                    node,
                    cluster,
                    there.get(node.uuid, []),
                    copies.get(node.uuid, []),
                    programs,
                )
                for node in nodes
            )
        )
        seen = dict(zip((node.uuid for node in nodes), answers, strict=True))
        found = [*plan.findings, *verification.nodes(cluster, seen, plan.now)]
        if "nplusone_mem" in self.skip_checks:
            found = [one for one in found if one.code != "ENODEN1"]
        found = verification.shortened(found)
        settled = tuple(self._settle(one) for one in found)
        return msgspec.structs.replace(plan, findings=settled)

    def subject(self, plan: VerifyPlan, cluster: Snapshot) -> Subject:
        group = cluster.group(self.group_name).uuid if self.group_name else None
        return Subject(kind=SubjectKind.CLUSTER, group=group)

    async def run(self, plan: VerifyPlan, steps: Steps) -> Outcome:
        steps.log(f"Verified {plan.nodes} node(s), {plan.instances} instance(s)")
        for one in plan.findings:
            steps.log(*self._line(one))
        return Outcome(result=not any(one.level == "ERROR" for one in plan.findings))

    def report(
        self, plan: VerifyPlan, scripts: tuple[NodeScripts, ...]
    ) -> tuple[tuple[str, LogKind], ...]:
        lines = [("* Hooks Results", LogKind.MESSAGE)] if scripts and plan.nodes else []
        for one in verification.scripts(scripts):
            lines.append(self._line(self._settle(one)))
            lines += [(f"      {text}", LogKind.WARNING) for text in one.details]
        return tuple(lines)

    def conclude(self, plan: VerifyPlan, result: Any, scripts: tuple[NodeScripts, ...]) -> Any:
        found = [self._settle(one) for one in verification.scripts(scripts)]
        return result and not any(one.level == "ERROR" for one in found)

    def _nodes(self, cluster: Snapshot) -> list[Node]:
        group = cluster.group(self.group_name).uuid if self.group_name else None
        return [node for node in cluster.nodes.values() if group in (None, node.group)]

    def _settle(self, one: Finding) -> Finding:
        ignored = one.level == "ERROR" and one.code in self.ignore_errors
        return msgspec.structs.replace(one, level="WARNING") if ignored else one

    def _line(self, one: Finding) -> tuple[str, LogKind]:
        kind = LogKind.MESSAGE if one.level == "NOTICE" else LogKind.WARNING
        return "  - " + self._text(one), kind

    def _text(self, one: Finding) -> str:
        if self.error_codes:
            return f"{one.level}:{one.code}:{one.kind}:{one.item}:{one.message}"
        return f"{one.level}: {one.kind} {one.item}: {one.message}"


async def _inspect(
    ask: Examiner,
    node: Node,
    cluster: Snapshot,
    mine: Sequence[Instance],
    copies: Sequence[str],
    programs: tuple[str, ...],
) -> Inspection | Unavailable:
    settings = cluster.cluster
    question = Inspect(
        storage_dirs=(settings.file_storage_dir, settings.shared_file_storage_dir),
        bridges=tuple(sorted({nic.link for one in mine for nic in one.nics if nic.link})),
        disks=(*(disk.path for one in mine for disk in one.disks), *copies),
        programs=programs if node.master_candidate else (),
    )
    try:
        return await ask.ask(node.uuid, question, timeouts.FAST)
    except Unavailable as error:
        return error
