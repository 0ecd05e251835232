"""Make an instance from an export: ``gnt-backup import``, OP_INSTANCE_CREATE in mode import."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import locks, names, sizes, timeouts
from gantry.model.backup_orders import (
    EXPORT_DIRECTORY,
    DumpFile,
    ExportContents,
    ReadExport,
    ScriptedDisk,
    WholeDisk,
)
from gantry.model.entities import (
    AdminState,
    DiskTemplate,
    HypervisorName,
    Parameters,
)
from gantry.model.errors import GantryError, Reason, Rejected
from gantry.model.locks import Needs
from gantry.model.names import Uuid
from gantry.model.orders import DiskCreate, DiskRemove, GuestStart, GuestStop, OsRun
from gantry.model.parameters import (
    BACKEND,
    HYPERVISOR,
    backend_parameters,
    hypervisor_parameters,
)
from gantry.model.replicas import MirrorChange
from gantry.model.snapshot import Snapshot
from gantry.operations.base import Examiner, Given, Plan
from gantry.operations.instance.add import AddPlan, InstanceAdd
from gantry.operations.instance.new import NewInstance
from gantry.operations.steps import (
    checks,
    importing,
    mirroring,
    mirrors,
    os_rename,
    requests,
    specs,
    transfer,
)
from gantry.operations.steps.importing import Drawn, Following, Source
from gantry.operations.steps.nics import NicRequest
from gantry.operations.steps.transfer import Transfer
from gantry.ports.steps import Outcome, Steps


class ImportPlan(Plan, frozen=True, kw_only=True):
    """``made`` and all that follows are known once the export has been read."""

    drawn: Drawn
    made: AddPlan | None = None
    old_name: str = ""
    node: str = ""
    directory: str = ""
    images: tuple[str, ...] = ()
    transfers: tuple[Transfer | None, ...] = ()
    rename: OsRun | None = None


class BackupImport(NewInstance[ImportPlan], frozen=True, kw_only=True):
    """Ganeti's OP_INSTANCE_CREATE in mode import; what is not given is as in the export."""

    opcode: ClassVar[str] = "OP_INSTANCE_CREATE"
    plan_type: ClassVar[type[Plan]] = ImportPlan

    mode: str = "import"
    src_node: str | None = None
    src_path: str | None = None
    src_point: int | None = None
    compress: str = "none"
    identify_defaults: bool = False
    nics: tuple[NicRequest, ...] | None = None
    start: bool = False

    def needs(self, cluster: Snapshot) -> Needs:
        name = names.host_name(self.instance_name, "the name of an instance")
        exported = self._directory(name).rpartition("/")[2]
        known = cluster.instance_names.get(exported)
        nodes = list(cluster.nodes)
        others = self.secondaries
        # An export of mirrored disks chooses nodes for them, where none are named.
        chooses = not others and self.disk_template in (None, DiskTemplate.MIRROR)
        if self.pnode and self.src_node and not chooses:
            named = dict.fromkeys((self.pnode, self.src_node, *others))
            nodes = [cluster.node(one).uuid for one in named]
        return Needs.of(
            # Nobody is to change the export meanwhile.
            shared=[
                locks.CLUSTER,
                *(locks.node(uuid) for uuid in nodes),
                locks.instance(known if known is not None else exported),
            ],
            exclusive=[locks.instance(name)],
        )

    def check(self, cluster: Snapshot, given: Given) -> ImportPlan:
        transfer.compression(self.compress)
        self.check_place(cluster)
        requests.new_name(self.instance_name, cluster)
        if self.src_node:
            checks.node_usable(cluster, cluster.node(self.src_node), "read the export")
        return ImportPlan(drawn=Drawn.of(given))

    async def examine(self, plan: ImportPlan, cluster: Snapshot, ask: Examiner) -> ImportPlan:
        name = names.host_name(self.instance_name, "the name of an instance")
        directory = self._directory(name)
        node, contents = await self._read(cluster, directory, ask)
        found = importing.source(contents)
        create = self._create(cluster, name, found, ask)
        made = create.check(cluster, Following(plan.drawn))
        made = await create.examine(made, cluster, ask)
        planned = self._planned(plan, cluster, made, found, node, directory)
        moved = [one for one in planned.transfers if one is not None]
        if moved:
            first = moved[0]
            await transfer.programs_there(ask, first.compress, first.source, first.target)
        return planned

    def subject(self, plan: ImportPlan, cluster: Snapshot) -> Subject:
        assert plan.made is not None
        return Subject(
            kind=SubjectKind.INSTANCE,
            instance=plan.made.instance,
            values={
                "ADD_MODE": self.mode,
                "SRC_NODE": plan.node,
                "SRC_PATH": plan.directory,
                "SRC_IMAGES": list(plan.images),
            },
            status=str(self.start),
            new_disks=True,
        )

    async def run(self, plan: ImportPlan, steps: Steps) -> Outcome:
        assert plan.made is not None
        instance, spec = plan.made.instance, plan.made.spec
        node = instance.primary_node
        if spec.disks:
            steps.log("creating instance disks...")
        for disk in spec.disks:
            await steps.do(
                f"create-disk/{disk.index}",
                node,
                DiskCreate(disk=disk),
                undo=DiskRemove(disk=disk),
                timeout=timeouts.SLOW,
            )
        await mirroring.create_copies(steps, plan.made.mirroring)
        for index, one in enumerate(plan.transfers):
            if one is None:
                steps.warn(f"the export has nothing of disk/{index}: it is left empty")
                continue
            steps.log(f"importing disk/{index} from {plan.node}")
            await transfer.move(steps, index, one)
        if plan.rename is not None:
            await os_rename.tell_new_name(steps, plan.rename, plan.old_name)
        states: tuple[MirrorChange, ...] = ()
        if self.start:
            steps.log("starting instance...")
            stop = GuestStop(
                uuid=instance.uuid,
                hypervisor=instance.hypervisor,
                timeout=0,
                force=True,
                forget=True,
            )
            order = GuestStart(spec=spec)
            states = await mirroring.start(steps, node, order, plan.made.mirroring, stop, new=True)
        elif plan.made.mirroring is not None:
            steps.log("the other replicas are copied when the instance is started")
        return Outcome(
            put=(instance, *plan.made.records),
            mirrors=states,
            result=[*checks.all_nodes(instance)],
        )

    def _directory(self, name: str) -> str:
        path = self.src_path or name
        if not path.startswith("/"):
            path = f"{EXPORT_DIRECTORY}/{path}"
        return names.absolute_path(path, "the directory of an export")

    async def _read(
        self, cluster: Snapshot, directory: str, ask: Examiner
    ) -> tuple[Uuid, ExportContents]:
        """The export, and which node has it."""
        question = ReadExport(directory=directory, point=self.src_point)
        if self.src_node:
            uuid = cluster.node(self.src_node).uuid
            return uuid, await ask.ask(uuid, question, timeouts.URGENT)
        found: list[tuple[Uuid, ExportContents]] = []
        for node in cluster.nodes.values():
            if node.offline or not cluster.node_live(node.uuid).reachable:
                continue
            try:
                found.append((node.uuid, await ask.ask(node.uuid, question, timeouts.URGENT)))
            except GantryError as error:
                if error.reason is not Reason.UNKNOWN:
                    ask.warn(f"the exports of {node.name} cannot be read: {error.message}")
        if len(found) == 1:
            return found[0]
        where = ", ".join(cluster.nodes[uuid].name for uuid, _ in found)
        raise Rejected(
            f"several nodes have an export in {directory}: {where}"
            if found
            else f"no node has an export in {directory}",
            "choose with --src-node and --src-dir; gnt-backup list shows all",
            reason=Reason.UNKNOWN,
        )

    def _create(self, cluster: Snapshot, name: str, found: Source, ask: Examiner) -> InstanceAdd:
        """The operation that would make the instance, but for what is in its disks."""
        config, facts = found.config, found.facts
        hypervisor = self.hypervisor or config.hypervisor
        hvparams: Parameters = {}
        if hypervisor == config.hypervisor and hypervisor in set(HypervisorName):
            kind = HypervisorName(hypervisor)
            hvparams.update(
                importing.parameters(
                    config.hvparams,
                    facts.own_hvparams if facts else None,
                    hypervisor_parameters(cluster.cluster, kind, self.os_type or config.os, {}),
                    HYPERVISOR[kind],
                    f"hypervisor {kind}",
                    ask.warn,
                    identify_defaults=self.identify_defaults,
                )
            )
        beparams = importing.parameters(
            config.beparams,
            facts.own_beparams if facts else None,
            backend_parameters(cluster.cluster, {}),
            BACKEND,
            "an instance",
            ask.warn,
            identify_defaults=self.identify_defaults,
        )
        nics = self.nics
        if nics is None:
            nics = importing.nics(found, name, cluster, ask.warn)
        template = self.disk_template or config.disk_template or None
        mirrored = template == DiskTemplate.MIRROR
        return InstanceAdd(
            instance_name=self.instance_name,
            disk_template=template,
            disks=importing.disks(found, self.disks, _size, mirrored=mirrored),
            nics=nics,
            pnode=self.pnode,
            snode=self.snode,
            snodes=self.snodes,
            os_type=self.os_type or config.os or None,
            hypervisor=hypervisor or None,
            hvparams={**hvparams, **self.hvparams},
            beparams={**_memory(beparams, self.beparams), **self.beparams},
            osparams={**importing.public(config.osparams, ask.warn), **self.osparams},
            osparams_private={**config.osparams_private, **self.osparams_private},
            file_driver=self.file_driver,
            file_storage_dir=self.file_storage_dir,
            force_variant=self.force_variant,
            name_check=self.name_check,
            ip_check=self.ip_check,
            conflicts_check=self.conflicts_check,
            no_install=True,
            start=False,
            tags=self.tags or config.tags,
        )

    def _planned(
        self,
        plan: ImportPlan,
        cluster: Snapshot,
        made: AddPlan,
        found: Source,
        node: Uuid,
        directory: str,
    ) -> ImportPlan:
        instance = made.instance
        if self.start:
            instance = msgspec.structs.replace(instance, admin_state=AdminState.UP)
            made = msgspec.structs.replace(made, instance=instance, start=True)
        made = _uncopied(cluster, made)
        placed = cluster.with_changes(cluster.revision, [instance])
        run = specs.os_run(placed, instance) if instance.os else None
        following = Following(msgspec.structs.replace(plan.drawn, seed=plan.drawn.seed + "-moves"))
        home, _, exported = directory.rpartition("/")
        transfers: list[Transfer | None] = []
        for disk, dump, below in zip(
            specs.disks(instance), found.dumps, found.layers, strict=False
        ):
            if dump is None:
                transfers.append(None)
                continue
            scripted = run if dump.scripted else None
            transfers.append(
                Transfer(
                    uuid=following.uuid(),
                    source=transfer.peer(cluster.nodes[node]),
                    target=transfer.peer(cluster.nodes[instance.primary_node]),
                    origin=DumpFile(instance=exported, name=dump.name, directory=home, below=below),
                    landing=WholeDisk(disk=disk)
                    if scripted is None
                    else ScriptedDisk(run=scripted, index=disk.index),
                    compress=transfer.compression(self.compress),
                )
            )
        return msgspec.structs.replace(
            plan,
            reserve=made.reserve,
            claims=made.claims,
            made=made,
            old_name=found.config.name,
            node=cluster.nodes[node].name,
            directory=directory,
            images=tuple(f"{directory}/{dump.name}" for dump in found.dumps if dump is not None),
            transfers=tuple(transfers),
            rename=run,
        )


def _uncopied(cluster: Snapshot, made: AddPlan) -> AddPlan:
    """What is imported is on the primary alone until it is copied."""
    if made.mirroring is None:
        return made
    instance = made.instance
    records = tuple(
        mirrors.made(instance, disk, copied=False, now=instance.ctime) for disk in instance.disks
    )
    placed = cluster.with_changes(cluster.revision, [instance, *records])
    return msgspec.structs.replace(made, records=records, mirroring=mirrors.of(placed, instance))


def _size(request: requests.DiskRequest) -> int:
    return sizes.parse(str(request.size), "the size of a disk")


def _memory(exported: Parameters, asked: Parameters) -> Parameters:
    """Without what ``memory`` in a request stands for."""
    if "memory" not in asked:
        return exported
    return {name: value for name, value in exported.items() if name not in ("maxmem", "minmem")}
