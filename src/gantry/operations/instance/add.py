"""Make an instance: ``gnt-instance add``."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model import locks, timeouts
from gantry.model.entities import (
    AdminState,
    Disk,
    DiskTemplate,
    HypervisorName,
    Instance,
    Mirror,
    Nic,
    Node,
)
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.image_location import OS_IMAGE
from gantry.model.locks import Needs
from gantry.model.names import host_name, parameter, tag
from gantry.model.orders import (
    DiskCreate,
    DiskRemove,
    GuestSpec,
    GuestStart,
    GuestStop,
    OsVerify,
)
from gantry.model.parameters import BACKEND, HYPERVISOR, backend, check, merge
from gantry.model.replicas import MirrorChange
from gantry.model.snapshot import Claim, Snapshot
from gantry.operations.base import Examiner, Given, Plan
from gantry.operations.instance.new import NewInstance
from gantry.operations.steps import (
    allocation,
    checks,
    installing,
    mirroring,
    mirrors,
    nics,
    oses,
    placing,
    requests,
    resolving,
    specs,
)
from gantry.operations.steps.installing import Installing
from gantry.ports.steps import Outcome, Steps

FAILED_INSTALL = oses.FAILED_INSTALL


class AddPlan(Plan, frozen=True, kw_only=True):
    """The whole instance as it will be; ``installing`` is false where nothing is installed."""

    instance: Instance
    spec: GuestSpec
    installing: Installing
    start: bool
    mirroring: mirrors.Mirroring | None = None
    records: tuple[Mirror, ...] = ()


class InstanceAdd(NewInstance[AddPlan], frozen=True, kw_only=True):
    """Ganeti's OP_INSTANCE_CREATE in mode create."""

    opcode: ClassVar[str] = "OP_INSTANCE_CREATE"
    plan_type: ClassVar[type[Plan]] = AddPlan

    mode: str = "create"
    nics: tuple[nics.NicRequest, ...] = ()
    no_install: bool = False
    keep_failed: bool = False
    start: bool = True
    debug_level: int = 0

    @property
    def _starts(self) -> bool:
        # What nothing was installed on is not started, as with Ganeti.
        return self.start and not self.no_install

    def needs(self, cluster: Snapshot) -> Needs:
        name = host_name(self.instance_name, "the name of an instance")
        named = [name for name in (self.pnode, *self.secondaries) if name]
        free = self.pnode is None or (self.disk_template == "mirror" and len(named) < 2)
        nodes = list(cluster.nodes) if free else [cluster.node(name).uuid for name in named]
        return Needs.of(
            shared=[locks.CLUSTER, *(locks.node(uuid) for uuid in nodes)],
            exclusive=[locks.instance(name)],
        )

    def check(self, cluster: Snapshot, given: Given) -> AddPlan:
        if self.mode != "create":
            raise Rejected(f"mode {self.mode!r} is not supported", "use mode create")
        self.check_place(cluster)
        name = requests.new_name(self.instance_name, cluster)
        hypervisor = self._hypervisor(cluster)
        draft = self._draft(cluster, given, name, hypervisor)
        memory = backend(cluster.cluster, draft).maxmem
        # What is known of a node's disk is its own; a shared one is the agent's to measure.
        own = draft.disk_template in (DiskTemplate.FILE, DiskTemplate.MIRROR)
        space = sum(disk.size for disk in draft.disks) if own else 0
        image = installing.image_of(draft, kept=self.no_install)
        needed = memory if self._starts else 0
        node = self._node(cluster, hypervisor, needed, space)
        others = placing.secondaries(
            cluster, draft.disk_template, hypervisor, node, self.secondaries, space
        )
        draft = msgspec.structs.replace(draft, secondary_nodes=tuple(one.uuid for one in others))
        for one in (node, *others) if draft.os else ():
            oses.installable(cluster, draft.os, one)
        instance = self._pinned(cluster, draft, node)
        install = bool((draft.os or image) and draft.disks and not self.no_install)
        mirrored = draft.disk_template is DiskTemplate.MIRROR
        records = [
            mirrors.made(instance, disk, not install, given.now)
            for disk in (instance.disks if mirrored else ())
        ]
        placed = cluster.with_changes(cluster.revision, [instance, *records])
        how = Installing()
        if install:
            how = installing.plan(placed, instance, self.patience, self.debug_level)
        if how.memory > needed:
            checks.memory_fits(cluster, node, how.memory, f"the installation of {name}")
            needed = how.memory
        return AddPlan(
            instance=instance,
            spec=specs.guest(cluster.cluster, instance),
            installing=how,
            start=self._starts,
            mirroring=mirrors.of(placed, instance),
            records=tuple(records),
            reserve=_reservations(instance, self.conflicts_check),
            claims=(
                Claim(node=node.uuid, memory=needed, disk=space),
                *(Claim(node=one.uuid, disk=space) for one in others),
            ),
        )

    async def examine(self, plan: AddPlan, cluster: Snapshot, ask: Examiner) -> AddPlan:
        settings = cluster.cluster
        name_check = settings.name_check if self.name_check is None else self.name_check
        ip_check = settings.ip_check if self.ip_check is None else self.ip_check
        if name_check:
            await resolving.name_resolves(plan.instance.name, cluster, ask, ip_check)
        if plan.instance.os:
            run = plan.installing.run or specs.os_run(
                cluster.with_changes(cluster.revision, [plan.instance]), plan.instance
            )
            oses.disjoint(run.parameters, run.private_parameters, ask.secrets)
            verify = OsVerify(
                os=plan.instance.os,
                parameters=run.parameters,
                private_parameters=run.private_parameters,
                secret_parameters=ask.secrets,
                force_variant=self.force_variant,
            )
            for uuid in checks.all_nodes(plan.instance):
                await ask.ask(uuid, verify, timeouts.OS_VERIFY)
        await installing.examine(plan.installing, plan.instance, ask)
        return plan

    def subject(self, plan: AddPlan, cluster: Snapshot) -> Subject:
        return Subject(
            kind=SubjectKind.INSTANCE,
            instance=plan.instance,
            values={"ADD_MODE": self.mode},
            status=str(plan.start),
            new_disks=True,
        )

    async def run(self, plan: AddPlan, steps: Steps) -> Outcome:
        instance, node = plan.instance, plan.instance.primary_node
        if instance.disks:
            steps.log("creating instance disks...")
        for disk in plan.spec.disks:
            await steps.do(
                f"create-disk/{disk.index}",
                node,
                DiskCreate(disk=disk),
                undo=DiskRemove(disk=disk),
                timeout=timeouts.SLOW,
            )
        await mirroring.create_copies(steps, plan.mirroring)
        try:
            await installing.carry_out(plan.installing, instance, steps)
        except OperationFailed as error:
            if not self.keep_failed:
                raise
            return _kept(plan, error, steps)
        states: tuple[MirrorChange, ...] = ()
        if plan.start:
            steps.log("starting instance...")
            stop = GuestStop(
                uuid=instance.uuid,
                hypervisor=instance.hypervisor,
                timeout=0,
                force=True,
                forget=True,
            )
            order = GuestStart(spec=plan.spec)
            states = await mirroring.start(steps, node, order, plan.mirroring, stop, new=True)
        return Outcome(
            put=(instance, *plan.records), mirrors=states, result=[*checks.all_nodes(instance)]
        )

    def _hypervisor(self, cluster: Snapshot) -> HypervisorName:
        enabled = cluster.cluster.enabled_hypervisors
        if self.hypervisor is None:
            return enabled[0]
        if self.hypervisor not in enabled:
            raise Rejected(
                f"hypervisor {self.hypervisor!r} is not enabled in this cluster",
                f"enabled are {', '.join(enabled)}",
            )
        return HypervisorName(self.hypervisor)

    def _draft(
        self, cluster: Snapshot, given: Given, name: str, hypervisor: HypervisorName
    ) -> Instance:
        template = requests.template(self.disk_template, cluster.cluster)
        named = self.os_type or OS_IMAGE in {**self.osparams, **self.osparams_private}
        if not (named or self.no_install or template is DiskTemplate.DISKLESS):
            raise Rejected(
                "the OS definition is missing",
                "such as -o busybox (see gnt-os list), or -O os-image=FILE|URL; --no-install "
                "leaves the disks empty",
            )
        beparams = merge({}, check(self.beparams, BACKEND, "an instance"))
        for key in (*self.osparams, *self.osparams_private):
            parameter(key, "an OS parameter")
        draft = Instance(
            uuid=given.uuid(),
            name=name,
            ctime=given.now,
            mtime=given.now,
            tags=tuple(sorted({tag(one) for one in self.tags})),
            primary_node=cluster.master.uuid,
            os=self.os_type or "",
            hypervisor=hypervisor,
            hvparams=merge(
                {}, check(self.hvparams, HYPERVISOR[hypervisor], f"hypervisor {hypervisor}")
            ),
            beparams=beparams,
            osparams=self.osparams,
            osparams_private=self.osparams_private,
            admin_state=AdminState.UP if self._starts else AdminState.DOWN,
            disk_template=template,
            disks=self._disks(cluster, given, name, template),
            nics=self._nics(cluster, given),
        )
        filled = backend(cluster.cluster, draft)
        if filled.minmem > filled.maxmem:
            raise Rejected(f"minmem {filled.minmem} is more than maxmem {filled.maxmem}")
        return draft

    def _disks(
        self, cluster: Snapshot, given: Given, name: str, template: DiskTemplate
    ) -> tuple[Disk, ...]:
        requests.count_fits(template, len(self.disks))
        if template is DiskTemplate.DISKLESS:
            return ()
        if self.file_driver not in (None, "loop"):
            raise Rejected(f"file driver {self.file_driver!r} is not supported", "use loop")
        base = requests.directory(cluster.cluster, template, name, self.file_storage_dir)
        return tuple(
            requests.disk(one, index, template, base, "loop", given)
            for index, one in enumerate(self.disks)
        )

    def _nics(self, cluster: Snapshot, given: Given) -> tuple[Nic, ...]:
        if len(self.nics) > nics.MAX_NICS:
            raise Rejected(f"an instance has at most {nics.MAX_NICS} NICs, not {len(self.nics)}")
        made: tuple[Nic, ...] = ()
        for one in self.nics:
            others = nics.Others(
                cluster=cluster, given=given, beside=made, conflicts=self.conflicts_check
            )
            made += (nics.make(one, others),)
        return made

    def _node(self, cluster: Snapshot, hypervisor: HypervisorName, memory: int, disk: int) -> Node:
        if self.pnode is None:
            return allocation.most_free(cluster, hypervisor, memory, disk)
        node = cluster.node(self.pnode)
        checks.node_usable(cluster, node, f"make instance {self.instance_name}")
        if node.drained or not node.vm_capable:
            what = "drained" if node.drained else "not vm_capable"
            raise Rejected(
                f"node {node.name} is {what} and takes no new instances",
                "choose another node, or change it with gnt-node modify",
                reason=Reason.STATE,
                node=node.name,
            )
        what = f"instance {self.instance_name}"
        checks.memory_fits(cluster, node, memory, what)
        checks.disk_fits(cluster, node, disk, what)
        return node

    def _pinned(self, cluster: Snapshot, draft: Instance, node: Node) -> Instance:
        facts = cluster.node_live(node.uuid).facts
        offer = facts.hypervisors.get(draft.hypervisor) if facts else None
        if offer is None or not offer.available:
            raise Rejected(
                f"node {node.name} does not run hypervisor {draft.hypervisor}"
                + (f": {offer.why}" if offer else ""),
                "gnt-node info shows what it offers",
                reason=Reason.ENVIRONMENT,
                node=node.name,
            )
        port = allocation.free_port(cluster) if draft.hypervisor is HypervisorName.KVM else None
        return msgspec.structs.replace(
            draft,
            primary_node=node.uuid,
            machine=offer.machine,
            cpu_model=offer.cpu_model,
            network_port=port,
        )


def _kept(plan: AddPlan, error: OperationFailed, steps: Steps) -> Outcome:
    """What a failed installation left, for a look (OS interface, section 8, 6): down, marked."""
    instance = msgspec.structs.replace(
        plan.instance,
        admin_state=AdminState.DOWN,
        tags=tuple(sorted({*plan.instance.tags, FAILED_INSTALL})),
    )
    steps.warn(
        f"the installation failed; {instance.name} is kept, down and with tag {FAILED_INSTALL}: "
        "look at its disks, then remove it"
    )
    return Outcome(put=(instance, *plan.records), error=error.info())


def _reservations(instance: Instance, conflicts: bool) -> tuple[str, ...]:
    found = [f"name/{instance.name}", *nics.reservations(instance.nics, conflicts)]
    if instance.network_port is not None:
        found.append(f"port/{instance.network_port}")
    return tuple(found)
