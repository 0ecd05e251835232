"""Read an export again and compare it with what is known of it: ``gnt-backup verify``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import msgspec

from gantry.model import locks, names, timeouts
from gantry.model.backup_orders import EXPORT_DIRECTORY, ExportContents, ExportDigest, ReadExport
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.locks import Needs
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import checks, importing
from gantry.ports.steps import Outcome, Steps

_MIB: Final = 1024 * 1024


class VerifyPlan(Plan, frozen=True, kw_only=True):
    """``dumps`` are all that are read; ``sha256``: what those with checksums must hash to.

    ``short`` are dumps that have less than their disks, in words.
    """

    name: str
    node: Uuid
    dumps: tuple[str, ...] = ()
    sha256: dict[str, str] = {}
    short: tuple[str, ...] = ()


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
        points = await self._all_points(plan, contents, ask)
        sha256 = {one.name: one.sha256 for one in contents.dumps if one.sha256}
        read = {one.name for one in contents.dumps}
        read |= {dump.name for one in points for dump in one.dumps if dump is not None}
        short = dict.fromkeys(what for one in points for what in _short(one, contents.files))
        return msgspec.structs.replace(
            plan, dumps=tuple(sorted(read)), sha256=sha256, short=tuple(short)
        )

    async def run(self, plan: VerifyPlan, steps: Steps) -> Outcome:
        damaged = list(plan.short)
        if plan.dumps and not damaged:
            order = ExportDigest(instance=plan.name, names=plan.dumps)
            found = await steps.do("digest", plan.node, order, timeout=timeouts.TRANSFER)
            damaged = [
                f"{name} is not what was written"
                for name, one in sorted(plan.sha256.items())
                if found.sha256.get(name) != one
            ]
            for name in plan.dumps:
                if name not in plan.sha256 and not damaged:
                    has = found.sha256.get(name, "")
                    steps.warn(f"{name} can be read, and has no checksum: SHA-256 is {has}")
        if damaged:
            raise OperationFailed(
                f"the export of {plan.name} is damaged: {'; '.join(damaged)}",
                "do not import it: make another one",
                object_name=plan.name,
            )
        known = len(plan.sha256)
        if known == len(plan.dumps):
            steps.log(f"the export of {plan.name} is what was written ({known} dumps)")
        else:
            steps.log(
                f"the export of {plan.name} can be read as a whole ({len(plan.dumps)} dumps, "
                f"{known} with checksums); gnt-backup export --checksums tells more"
            )
        return Outcome(result=len(plan.dumps))

    async def _all_points(
        self, plan: VerifyPlan, contents: ExportContents, ask: Examiner
    ) -> list[importing.Source]:
        """Each can be understood, and has all files that it rests on; Rejected."""
        found: list[importing.Source] = []
        for point in contents.points:
            question = ReadExport(directory=f"{EXPORT_DIRECTORY}/{plan.name}", point=point)
            try:
                found.append(importing.source(await ask.ask(plan.node, question, timeouts.URGENT)))
            except Rejected as error:
                if len(contents.points) > 1:
                    error.message = f"point {point}: {error.message}"
                raise
        return found

    def _name(self, cluster: Snapshot) -> str:
        try:
            return cluster.instance(self.instance_name).name
        except Rejected:
            return names.host_name(self.instance_name, "the name of an instance")


def _short(found: importing.Source, files: Mapping[str, int]) -> tuple[str, ...]:
    """Raw dumps of ours are as long as their disks; of Ganeti's nobody knows."""
    if found.facts is None:
        return ()
    return tuple(
        f"{dump.name} has {files[dump.name]} bytes, and disk {index} {disk.size} MiB"
        for index, (disk, dump) in enumerate(zip(found.config.disks, found.dumps, strict=True))
        if dump is not None
        and not (dump.scripted or dump.below)
        and files[dump.name] < disk.size * _MIB
    )
