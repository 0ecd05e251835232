"""Read an export again and compare it with its checksums: ``gnt-backup verify``."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from gantry.model import locks, names, timeouts
from gantry.model.backup_orders import EXPORT_DIRECTORY, ExportContents, ExportDigest, ReadExport
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import checks, importing
from gantry.ports.steps import Outcome, Steps


class VerifyPlan(Plan, frozen=True, kw_only=True):
    """``sha256``: what each dump must hash to, by its name."""

    name: str
    node: Uuid
    sha256: dict[str, str] = {}


class BackupVerify(Operation[VerifyPlan], frozen=True, kw_only=True):
    """Nothing is changed. The instance need not exist any more."""

    opcode: ClassVar[str] = "OP_BACKUP_VERIFY"
    hooked: ClassVar[bool] = False
    plan_type: ClassVar[type[Plan]] = VerifyPlan

    instance_name: str
    node_name: str

    def summary(self) -> str:
        return f"BACKUP_VERIFY({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        name = self._name(cluster)
        known = cluster.instance_names.get(name)
        return Needs.of(
            shared=[
                locks.CLUSTER,
                locks.node(cluster.node(self.node_name).uuid),
                locks.instance(known if known is not None else name),
            ]
        )

    def check(self, cluster: Snapshot, given: Given) -> VerifyPlan:
        node = cluster.node(self.node_name)
        checks.node_usable(cluster, node, "read the export")
        return VerifyPlan(name=self._name(cluster), node=node.uuid)

    async def examine(self, plan: VerifyPlan, cluster: Snapshot, ask: Examiner) -> VerifyPlan:
        question = ReadExport(directory=f"{EXPORT_DIRECTORY}/{plan.name}")
        contents = await ask.ask(plan.node, question, timeouts.URGENT)
        await self._all_points(plan, contents, ask)
        sha256 = {one.name: one.sha256 for one in contents.dumps if one.sha256}
        unknown = sorted(one.name for one in contents.dumps if not one.sha256)
        if sha256 and unknown:
            ask.warn(f"without checksums, so not verified: {', '.join(unknown)}")
        if not sha256:
            raise Rejected(
                f"the export of {plan.name} has no checksums",
                "exports that are made with gnt-backup export --checksums have",
                reason=Reason.STATE,
                object_name=plan.name,
            )
        return msgspec.structs.replace(plan, sha256=sha256)

    async def run(self, plan: VerifyPlan, steps: Steps) -> Outcome:
        order = ExportDigest(instance=plan.name, names=tuple(sorted(plan.sha256)))
        found = await steps.do("digest", plan.node, order, timeout=timeouts.TRANSFER)
        bad = [name for name, one in sorted(plan.sha256.items()) if found.sha256.get(name) != one]
        if bad:
            raise OperationFailed(
                f"the export of {plan.name} is damaged: {', '.join(bad)} is not what was written",
                "do not import it: make another one",
                object_name=plan.name,
            )
        steps.log(f"the export of {plan.name} is what was written ({len(plan.sha256)} dumps)")
        return Outcome(result=len(plan.sha256))

    async def _all_points(self, plan: VerifyPlan, contents: ExportContents, ask: Examiner) -> None:
        """Each can be understood, and has all files that it rests on; Rejected."""
        for point in contents.points:
            question = ReadExport(directory=f"{EXPORT_DIRECTORY}/{plan.name}", point=point)
            try:
                importing.source(await ask.ask(plan.node, question, timeouts.URGENT))
            except Rejected as error:
                if len(contents.points) > 1:
                    error.message = f"point {point}: {error.message}"
                raise

    def _name(self, cluster: Snapshot) -> str:
        try:
            return cluster.instance(self.instance_name).name
        except Rejected:
            return names.host_name(self.instance_name, "the name of an instance")
