"""Export an instance into a directory of a node: ``gnt-backup export``."""

from __future__ import annotations

from typing import ClassVar

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import export_config, export_facts, locks, timeouts
from gantry.model.backup_orders import (
    Compression,
    ExportBegin,
    ExportDigest,
    ExportDiscard,
    ExportFinish,
    ExportRemove,
    ExportRevert,
    ExportSettle,
    ScriptedDisk,
    WholeDisk,
    config_digest,
)
from gantry.model.entities import AdminState, Instance
from gantry.model.errors import Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.orders import DiskRemove, GuestForget, GuestStart, GuestStop
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner, Given, Operation, Plan
from gantry.operations.steps import (
    chain_export,
    checks,
    exporting,
    live_export,
    mirroring,
    mirrors,
    specs,
    transfer,
)
from gantry.operations.steps.export_plan import ExportPlan
from gantry.operations.steps.transfer import Transfer
from gantry.ports.steps import Outcome, Steps, Undo


class BackupExport(Operation[ExportPlan], frozen=True, kw_only=True):
    """Parameters as in Ganeti's OP_BACKUP_EXPORT."""

    opcode: ClassVar[str] = "OP_BACKUP_EXPORT"
    plan_type: ClassVar[type[Plan]] = ExportPlan

    instance_name: str
    target_node: str
    instance_uuid: str | None = None
    mode: str = "local"
    compress: str = "none"
    shutdown: bool = True
    shutdown_timeout: int = int(timeouts.SHUTDOWN)
    remove_instance: bool = False
    ignore_remove_failures: bool = False
    checksums: bool = False
    incremental: bool = False
    zero_free_space: bool = False
    zeroing_timeout_fixed: int | None = None
    zeroing_timeout_per_mib: float | None = None
    long_sleep: bool = False

    def summary(self) -> str:
        return f"BACKUP_EXPORT({self.instance_name})"

    def needs(self, cluster: Snapshot) -> Needs:
        instance = cluster.instance(self.instance_name)
        target = cluster.node(self.target_node)
        nodes = {*checks.all_nodes(instance), target.uuid}
        return Needs.of(
            shared=[locks.CLUSTER, *(locks.node(uuid) for uuid in sorted(nodes))],
            exclusive=[locks.instance(instance.uuid)],
        )

    def check(self, cluster: Snapshot, given: Given) -> ExportPlan:
        self._supported()
        compress = transfer.compression(self.compress)
        instance = cluster.instance(self.instance_name)
        target, source = cluster.node(self.target_node), cluster.nodes[instance.primary_node]
        checks.node_usable(cluster, source, f"export instance {instance.name}")
        checks.node_usable(cluster, target, f"keep an export of {instance.name}")
        running = checks.running(cluster, instance)
        self._may_stop(instance, running)
        scripted = bool(instance.os) and not self.incremental
        run = specs.os_run(cluster, instance) if scripted else None
        guest = instance.uuid if running and not self._stops else None
        transfers = tuple(
            Transfer(
                uuid=given.uuid(),
                source=transfer.peer(source),
                target=transfer.peer(target),
                origin=WholeDisk(disk=disk, guest=guest)
                if run is None
                else ScriptedDisk(run=run, index=disk.index, guest=guest),
                landing=exporting.dump_file(instance, disk.uuid, disk.size if run is None else 0),
                compress=compress,
            )
            for disk in specs.disks(instance)
        )
        config = exporting.config(cluster, instance, given.now)
        mark = given.uuid() if self.incremental else None
        facts = exporting.facts(instance, scripted, mark=mark or "")
        return ExportPlan(
            instance=instance,
            spec=specs.guest(cluster.cluster, instance),
            mirroring=mirrors.of(cluster, instance),
            records=mirrors.records(cluster, instance),
            target=transfer.peer(target),
            transfers=transfers,
            others=tuple(
                node.uuid
                for node in cluster.nodes.values()
                if node.uuid != target.uuid and not node.offline
            ),
            running=running,
            stop=running and self._stops,
            config=export_config.write(config),
            now=given.now,
            facts=export_facts.encode(facts),
            mark=mark,
        )

    @property
    def _stops(self) -> bool:
        """Whether a running guest is stopped: what changes is counted only while it runs."""
        return self.shutdown and not self.incremental

    async def examine(self, plan: ExportPlan, cluster: Snapshot, ask: Examiner) -> ExportPlan:
        if plan.transfers:
            compress = Compression(self.compress)
            await transfer.programs_there(
                ask, compress, plan.transfers[0].source, plan.transfers[0].target
            )
        if self.incremental:
            return await chain_export.upon_chain(plan, cluster, ask)
        await chain_export.no_chain_replaced(plan, ask)
        return plan

    def subject(self, plan: ExportPlan, cluster: Snapshot) -> Subject:
        return Subject(
            kind=SubjectKind.INSTANCE,
            instance=plan.instance,
            values={
                "EXPORT_MODE": self.mode,
                "EXPORT_NODE": plan.target.name,
                "EXPORT_DO_SHUTDOWN": self._stops,
                "SHUTDOWN_TIMEOUT": self.shutdown_timeout,
                "REMOVE_INSTANCE": self.remove_instance,
            },
            extra_nodes=(plan.target.node,),
        )

    async def run(self, plan: ExportPlan, steps: Steps) -> Outcome:
        name, target = plan.instance.name, plan.target
        if plan.why:
            steps.log(plan.why)
        if plan.stop:
            await self._stop(plan, steps)
        begin = ExportBegin(instance=name, upon=plan.upon.last if plan.upon else None)
        await steps.do("begin", target.node, begin, undo=ExportDiscard(instance=name))
        await _dumped(plan, steps)
        if plan.stop and not self.remove_instance:
            await _start(plan, steps)
        facts = await self._facts(plan, steps)
        steps.log(f"finalizing export on {target.name}")
        digest = config_digest(plan.config, plan.point)
        await steps.do(
            "finish",
            target.node,
            ExportFinish(instance=name, config=plan.config, facts=facts, point=plan.point),
            undo=ExportRevert(instance=name, digest=digest),
        )
        cleanup = [
            Undo(target.node, ExportSettle(instance=name, digest=digest)),
            *live_export.counted_no_longer(plan),
            *_older(plan),
        ]
        result = [True, [True] * len(plan.dumps)]
        if not self.remove_instance:
            return Outcome(result=result, cleanup=tuple(cleanup))
        return _removed(plan, result, cleanup)

    async def _facts(self, plan: ExportPlan, steps: Steps) -> str:
        """With checksums, where they were asked for; of a chain always, since points rest on it."""
        if not plan.dumps or not (self.checksums or self.incremental):
            return plan.facts
        order = ExportDigest(instance=plan.instance.name, names=plan.dumps, new=True)
        steps.log("reading the dumps for their checksums")
        found = await steps.do("digest", plan.target.node, order, timeout=timeouts.TRANSFER)
        return export_facts.with_digests(plan.facts, found.sha256)

    def _supported(self) -> None:
        if self.mode != "local":
            raise Rejected(
                f"mode {self.mode!r} is not supported", "exports stay in the cluster: mode local"
            )
        if self.zero_free_space:
            raise Rejected(
                "free space is not zeroed",
                "let the guest discard it (fstrim): holes of a disk are left out",
            )
        if not 0 <= self.shutdown_timeout <= 86400:
            raise Rejected(f"the time limit is 0 to 86400 seconds, not {self.shutdown_timeout}")

    def _may_stop(self, instance: Instance, running: bool) -> None:
        if self.remove_instance and not self._stops and running:
            raise Rejected(
                f"instance {instance.name} runs: it cannot be removed without a shutdown",
                "leave --noshutdown and --incremental out",
                reason=Reason.STATE,
                object_name=instance.name,
            )

    async def _stop(self, plan: ExportPlan, steps: Steps) -> None:
        steps.log(f"shutting down instance {plan.instance.name}")
        await steps.do(
            "stop-guest",
            plan.instance.primary_node,
            GuestStop(
                uuid=plan.instance.uuid,
                hypervisor=plan.instance.hypervisor,
                timeout=float(self.shutdown_timeout),
            ),
            undo=checks.back_up(plan.instance, plan.spec, plan.running),
            timeout=self.shutdown_timeout + timeouts.GUEST_START,
        )


def _older(plan: ExportPlan) -> list[Undo]:
    """Exports on other nodes, which this one takes the place of."""
    instance = plan.instance
    order = ExportRemove(instance=instance.name, before=plan.now, owner=instance.uuid)
    return [Undo(node, order) for node in plan.others]


async def _dumped(plan: ExportPlan, steps: Steps) -> None:
    """What the export has of each disk is there."""
    if plan.live:
        await live_export.keep_content(plan, steps)
    for index, one in enumerate(plan.transfers):
        steps.log(f"exporting disk/{index} from {one.source.name} to {one.target.name}")
        await transfer.move(steps, index, one)
    if plan.live:
        await live_export.let_go(plan, steps)
    if plan.unchanged:
        await steps.do("unchanged", plan.target.node, chain_export.nothing_new(plan))


async def _start(plan: ExportPlan, steps: Steps) -> None:
    order = checks.back_up(plan.instance, plan.spec, plan.running)
    if plan.mirroring is not None and plan.instance.admin_state is AdminState.UP:
        steps.log("the instance is started again with all its replicas, by a job of its own")
    if order is None:
        return
    steps.log(f"starting instance {plan.instance.name}")
    await steps.do("start-guest", plan.instance.primary_node, GuestStart(spec=order.spec))


def _removed(plan: ExportPlan, result: list[object], cleanup: list[Undo]) -> Outcome:
    """The instance goes with the commit, and its disks after it."""
    node = plan.instance.primary_node
    forget = GuestForget(uuid=plan.instance.uuid, hypervisor=plan.instance.hypervisor)
    disks = [
        *mirroring.closing(plan.mirroring),
        *(Undo(node, DiskRemove(disk=disk)) for disk in specs.disks(plan.instance)),
        *mirroring.removing(plan.mirroring),
    ]
    return Outcome(
        delete=(plan.instance, *plan.records),
        result=result,
        cleanup=(*cleanup, *disks, Undo(node, forget)),
    )
