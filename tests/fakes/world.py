"""The nodes of a cluster in memory, and what orders and questions do to them.

Nothing here knows keys, epochs or faults; that is ``tests.fakes.agents``. ``World.state()`` is
what must be as before, or as intended, when a job has ended.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from typing import Any

import msgspec
from tests.fakes.bundles import FakeBundles
from tests.fakes.exports import FakeExports
from tests.fakes.moving import FakeMoving
from tests.fakes.replicas import FakeReplicas

from gantry.hooks.disabled import merged, why
from gantry.hypervisors import fake_mirrors
from gantry.model import bundles, names, timeouts
from gantry.model.bundles import HOOKS
from gantry.model.candidate_orders import MASTER_FILES
from gantry.model.disk_orders import DiskSeen, DisksSeen
from gantry.model.entities import DiskTemplate
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.hook_files import HookFile, HookInventory, ReadHookFiles
from gantry.model.hook_orders import HookSequence, ListedHooks, ListedScript
from gantry.model.hook_switch import HookSwitch, Switched
from gantry.model.image_orders import ImageFacts, ImageWrite, ReadImage
from gantry.model.live import GuestLive, GuestState, HypervisorFacts, NodeFacts, OsFacts
from gantry.model.names import Uuid
from gantry.model.orders import (
    AnyOrder,
    AnyQuestion,
    BundleInstall,
    BundleRestore,
    ConsoleAddress,
    Delay,
    DiskConvert,
    DiskCreate,
    DiskGrow,
    DiskMove,
    DiskPlug,
    DiskRemove,
    DiskSpec,
    DiskUnplug,
    FilesWrite,
    GuestForget,
    GuestList,
    GuestReset,
    GuestSpec,
    GuestStart,
    GuestStop,
    HookDirectory,
    HooksRan,
    HooksRun,
    Inspect,
    Inspection,
    MasterFiles,
    MasterFilesHeld,
    MasterReady,
    NodeLeave,
    Nothing,
    OsCreate,
    OsDiagnose,
    OsInstall,
    OsList,
    OsRename,
    OsVerify,
    PowerRun,
    PowerSaid,
    ReadBundle,
    ReadConsole,
    ReadDisks,
    ReadFacts,
    ReadGuests,
    ReadHooks,
    ReadMasterFiles,
    Resolve,
    Resolved,
    ScriptResult,
    ScriptStatus,
    StateComplete,
    StatePiece,
)
from gantry.model.os_texts import OsTexts, ReadOsTexts
from gantry.model.power import Health, PowerCommand
from gantry.ports.agents import Event, GuestChanged, Progress

Say = Callable[[Progress], None]

NOOP = OsFacts(name="noop", path="/srv/ganeti/os/noop", api_versions=(20,), digest="noop")
_SSCONF = re.compile(r"ssconf_[a-z0-9_]+")
_COPY = re.compile(r"[0-9A-Za-z-]+")
_SEARCH_PATH = ("/srv/ganeti/os",)
_STORAGE = ("/srv/ganeti/file-storage/", "/srv/ganeti/shared-file-storage/")


class FakeDisk(msgspec.Struct):
    """A disk: ``content`` is what an OS definition put there."""

    spec: DiskSpec
    content: str = ""


class FakeGuest(msgspec.Struct):
    """A guest, and what it was started with."""

    spec: GuestSpec
    live: GuestLive
    moving: str = ""
    """Between two nodes: awaited, received, sent."""


class FakeNode:
    """One machine. Tests may change everything here."""

    def __init__(
        self, uuid: Uuid, name: str, *, memory: int = 16384, disk: int = 1048576, cpus: int = 8
    ) -> None:
        self.uuid = uuid
        self.name = name
        self.memory = memory
        self.disk = disk
        self.cpus = cpus
        self.oses: tuple[OsFacts, ...] = (NOOP,)
        self.waiting = True
        """A master process waits here."""
        self.pieces: dict[tuple[str, str], bytearray] = {}
        self.copies: list[dict[str, bytes]] = []
        self.history = b""
        self.taken_over: tuple[str, dict[str, bytes]] = ("", {})
        self.disks: dict[str, FakeDisk] = {}
        self.exports = FakeExports(self)
        self.replicas = FakeReplicas(self)
        self.guests: dict[Uuid, FakeGuest] = {}
        self.files: dict[str, str] = {}
        self.master_files: dict[str, str] = {}
        """What it needs to be the master, by name."""
        self.hooks: dict[str, dict[str, ScriptResult]] = {}
        """What scripts will say, by directory and script name; see ``add_hook``."""
        self.hook_runs: list[HooksRun] = []
        self.failing_oses: set[str] = set()
        self.images: dict[str, int] = {}
        """Bytes by location, of those that the node can read."""
        """Definitions whose ``create`` fails."""
        self.dying: set[str] = set()
        """Names of guests that die soon after their start."""
        self.bundles: dict[str, FakeBundles] = {}
        """By target; see ``bundles_of``."""
        self.switched: dict[str, Switched] = {}
        """The last word on scripts that were switched off or on."""
        self.left = False
        self.oob_programs: set[str] = set()
        """Programs that are there and switch power."""
        self.unpowered: set[str] = set()
        """Machines that they have switched off."""
        self.boot_id = f"boot-of-{name}"
        self.started: Callable[[Uuid], None] = lambda uuid: None
        """Told of every guest that begins to run here."""
        self.moving = FakeMoving(self)
        self._changed: set[Callable[[Event], None]] = set()
        self._time = 1000.0

    def add_hook(
        self,
        directory: str,
        script: str,
        *,
        exit_status: int = 0,
        output: str = "",
        status: ScriptStatus | None = None,
        **fields: Any,
    ) -> None:
        """Put a script into a hooks directory, and say how it will end."""
        ended = ScriptStatus.SUCCEEDED if exit_status == 0 else ScriptStatus.FAILED
        self.hooks.setdefault(directory, {})[script] = ScriptResult(
            directory=directory,
            script=script,
            status=status or ended,
            exit_status=exit_status,
            output=output,
            **fields,
        )

    def end_guest(self, uuid: Uuid, state: GuestState = GuestState.DIED) -> None:
        """A guest ends without our order; event streams are told."""
        guest = self.guests[uuid]
        guest.live = msgspec.structs.replace(
            guest.live, state=state, since=self._tick(), pid=0, mirrors=()
        )
        if state is not GuestState.DIED:
            self.replicas.closed(guest.spec.disks)
        self._tell(GuestChanged(guest=guest.live))

    def reboot(self) -> None:
        """Power fails: all guests are gone, the disks stay. Event streams are told nothing."""
        self.guests.clear()
        self.boot_id += "'"

    def listen(self, changed: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``changed`` for every event until the function that comes back is called."""
        self._changed.add(changed)
        return lambda: self._changed.discard(changed)

    @property
    def live(self) -> tuple[GuestLive, ...]:
        """All guests, as the agent says them."""
        active = self.replicas.told()
        mine = [
            guest.live if guest.live.up else active.pop(uuid, guest.live)
            for uuid, guest in self.guests.items()
        ]
        return (*mine, *active.values())

    def facts(self) -> NodeFacts:
        """As the agent says them."""
        used = sum(guest.live.memory for guest in self.guests.values() if guest.live.up)
        kept = sum(disk.spec.size for disk in self.disks.values())
        here = HypervisorFacts(available=True, version="1", machine="fake-1.0", cpu_model="fake")
        return NodeFacts(
            boot_id=self.boot_id,
            memory_total=self.memory,
            memory_free=self.memory - used,
            disk_total=self.disk,
            disk_free=self.disk - kept,
            cpus=self.cpus,
            hypervisors={"fake": here, "kvm": here},
            oses=self.oses,
            version="test",
            bundles={one: made.current for one, made in self.bundles.items() if made.current},
        )

    def bundles_of(self, target: str) -> FakeBundles:
        """Its bundles of that target."""
        bundles.check_target(target)
        return self.bundles.setdefault(target, FakeBundles(target))

    def state(self) -> dict[str, object]:
        """What counts of the node, without times and process ids."""
        return {
            "disks": {
                path: (disk.spec.size, disk.spec.format, disk.spec.template, disk.content)
                for path, disk in self.disks.items()
            },
            "guests": {
                uuid: (guest.spec, guest.live.state)
                for uuid, guest in self.guests.items()
                if guest.live.up
            },
            "files": dict(self.files),
            "bundles": {one: made.state() for one, made in self.bundles.items() if made.used},
            "switched": {
                script: (word.enabled, word.reason) for script, word in self.switched.items()
            },
            "left": self.left,
            "unpowered": sorted(self.unpowered),
            **self.exports.state(),
            **self.replicas.state(),
        }

    # Orders

    async def carry_out(self, order: AnyOrder, say: Say) -> msgspec.Struct:
        """What the agent would do."""
        if isinstance(order, Delay):
            if order.duration >= 0.1:
                say(Progress(f"waiting {order.duration:g} seconds on {self.name}"))
            await asyncio.sleep(order.duration)
            return Nothing()
        table: dict[type, Callable[[Any, Say], msgspec.Struct | None]] = {
            DiskCreate: lambda order, say: self.create_disk(order),
            DiskRemove: lambda order, say: self._disk_remove(order.disk, order.untouched),
            DiskGrow: lambda order, say: self._disk_grow(order),
            DiskPlug: lambda order, say: self._plug(order, order.disk),
            DiskUnplug: lambda order, say: self._plug(order, None),
            DiskConvert: lambda order, say: self._convert(order),
            DiskMove: lambda order, say: self._disk_move(order),
            GuestStart: lambda order, say: self._start(order),
            GuestStop: self._stop,
            GuestReset: lambda order, say: self._reset(_valid(order.uuid)),
            GuestForget: lambda order, say: self._forget(_valid(order.uuid)),
            OsCreate: self._install,
            OsInstall: self._install,
            ImageWrite: lambda order, say: self._image(order),
            OsRename: self._rename,
            HooksRun: lambda order, say: self._run_hooks(order),
            BundleInstall: lambda order, say: self.bundles_of(order.target).install(order),
            BundleRestore: lambda order, say: self.bundles_of(order.target).restore(order),
            FilesWrite: lambda order, say: self._write(order.files),
            HookSwitch: lambda order, say: self._switch(order),
            NodeLeave: lambda order, say: self._leave(),
            MasterReady: lambda order, say: self._ready(),
            StatePiece: lambda order, say: self._piece(order),
            StateComplete: lambda order, say: self._complete(order),
            MasterFiles: lambda order, say: self._master_files(order),
            PowerRun: lambda order, say: self._power(order),
        }
        for more in (self.exports.orders, self.replicas.orders, self.moving.orders):
            if type(order) in more:
                return more[type(order)](order) or Nothing()
        return table[type(order)](order, say) or Nothing()

    def _power(self, order: PowerRun) -> PowerSaid:
        names.host_name(order.machine, "the name of a node")
        names.absolute_path(order.program, "an oob_program")
        if order.program not in self.oob_programs:
            raise OperationFailed(f"{order.machine}: {order.program} is not there")
        match order.command:
            case PowerCommand.OFF:
                self.unpowered.add(order.machine)
            case PowerCommand.ON:
                self.unpowered.discard(order.machine)
            case PowerCommand.CYCLE:
                return PowerSaid()
            case PowerCommand.HEALTH:
                return PowerSaid(health=(("fan", Health.OK), ("psu", Health.WARNING)))
        return PowerSaid(powered=order.machine not in self.unpowered)

    def _leave(self) -> None:
        self.left = True
        self.master_files = {}

    def _master_files(self, order: MasterFiles) -> None:
        if not {*order.files, *order.keep} <= {*MASTER_FILES}:
            raise Rejected("not a file of a master")
        kept = {name: text for name, text in self.master_files.items() if name in order.keep}
        self.master_files = {**kept, **order.files}

    def _digests(self) -> dict[str, str]:
        return {
            name: hashlib.sha256(text.encode()).hexdigest()
            for name, text in self.master_files.items()
        }

    def _disk_remove(self, disk: DiskSpec, untouched: bool) -> None:
        path = self._path(disk.path)
        if not (untouched and self.disks.get(path, FakeDisk(disk)).content):
            self.disks.pop(path, None)
            self.replicas.removed(path)

    def _disk_grow(self, order: DiskGrow) -> None:
        found = self.disks.get(self._path(order.disk.path))
        if found is None:
            raise OperationFailed(f"{order.disk.path} is not there")
        if order.disk.template is DiskTemplate.MIRROR:
            self.replicas.grow(order)
            return
        if order.size - found.spec.size > self.facts().disk_free:
            raise OperationFailed("it does not fit", reason=Reason.NO_RESOURCES)
        size = max(found.spec.size, order.size)
        found.spec = msgspec.structs.replace(found.spec, size=size)

    def _plug(self, order: DiskPlug | DiskUnplug, disk: DiskSpec | None) -> None:
        guest = self.guests.get(order.guest)
        if guest is None or not guest.live.up:
            if disk is not None:
                raise Rejected("the guest is not running", reason=Reason.STATE)
            return
        if disk is not None and disk.path not in self.disks:
            raise OperationFailed(f"{disk.path} is not there")
        if isinstance(order, DiskUnplug) and order.keep:
            return
        others = tuple(one for one in guest.spec.disks if one.uuid != order.disk.uuid)
        if disk is not None and others == guest.spec.disks:
            self.replicas.plugged(order.guest, disk)
        elif disk is None:
            self.replicas.unmirrored(order.guest, order.disk.uuid)
        now = (*others, *((disk,) if disk else ()))
        guest.spec = msgspec.structs.replace(guest.spec, disks=now)

    def _convert(self, order: DiskConvert) -> None:
        guest, disk = self.guests.get(order.guest), order.disk
        if guest is None or not guest.live.up:
            return
        if disk.path not in self.disks:
            raise OperationFailed(f"{disk.path} is not there")
        if disk.template is DiskTemplate.MIRROR:
            self.replicas.taken_over(disk)
        else:
            self.replicas.unmirrored(order.guest, disk.uuid)
        now = tuple(disk if one.uuid == disk.uuid else one for one in guest.spec.disks)
        guest.spec = msgspec.structs.replace(guest.spec, disks=now)

    def _read_disks(self, question: ReadDisks) -> DisksSeen:
        return DisksSeen(disks=tuple(self._seen(disk) for disk in question.disks))

    def _seen(self, disk: DiskSpec) -> DiskSeen:
        found = self.disks.get(self._path(disk.path))
        if found is None:
            return DiskSeen(uuid=disk.uuid, problem=f"{disk.path} is not there")
        return DiskSeen(uuid=disk.uuid, size=found.spec.size << 20)

    def _disk_move(self, order: DiskMove) -> None:
        source, target = self._path(order.disk.path), self._path(order.path)
        if source == target or (source not in self.disks and target in self.disks):
            return
        if target in self.disks:
            raise Rejected(f"{target} exists already", reason=Reason.EXISTS)
        if source not in self.disks:
            raise OperationFailed(f"{source} is not there")
        self.disks[target] = self.disks.pop(source)
        self.replicas.moved(source, target)

    def create_disk(self, order: DiskCreate) -> None:
        """An empty disk."""
        disk = order.disk
        path = self._path(disk.path)
        if path in self.disks:
            if self.disks[path].content:
                raise Rejected(f"{path} exists already", reason=Reason.EXISTS)
            return
        free = self.facts().disk_free
        if disk.size > free:
            raise OperationFailed(
                f"disk {disk.index} of {disk.size} MiB does not fit: {free} MiB are free",
                reason=Reason.NO_RESOURCES,
            )
        self.disks[path] = FakeDisk(disk)
        self.replicas.created(disk)

    def _path(self, path: str) -> str:
        names.absolute_path(path, "the path of a disk")
        if not path.startswith(_STORAGE):
            raise Rejected(f"{path} is not below an allowed directory")
        return path

    def is_up(self, uuid: Uuid) -> bool:
        """Whether the guest runs here."""
        return uuid in self.guests and self.guests[uuid].live.up

    def _start(self, order: GuestStart) -> GuestLive:
        spec = order.spec
        if self.is_up(spec.uuid):
            self.moving.not_received(spec.uuid)
            return self.guests[spec.uuid].live
        missing = [disk.path for disk in spec.disks if disk.path not in self.disks]
        if missing:
            raise OperationFailed(f"{spec.name} cannot start: {missing[0]} is not there")
        free = self.facts().memory_free
        if spec.memory > free:
            raise OperationFailed(
                f"{spec.name} cannot start: it wants {spec.memory} MiB, {free} MiB are free",
                reason=Reason.NO_RESOURCES,
            )
        self.replicas.deactivate(spec.uuid)
        self.replicas.opened(spec.disks)
        self.replicas.mirrored(spec.disks)
        live = GuestLive(
            uuid=spec.uuid,
            name=spec.name,
            state=GuestState.PAUSED if order.paused else GuestState.RUNNING,
            since=self._tick(),
            memory=spec.memory,
            vcpus=spec.vcpus,
            pid=1,
            mirrors=fake_mirrors.of(spec.disks),
        )
        self.guests[spec.uuid] = FakeGuest(spec, live)
        self.started(spec.uuid)
        if spec.name in self.dying:
            asyncio.get_running_loop().call_later(0.05, self.end_guest, spec.uuid)
        self._tell(GuestChanged(guest=live))
        return live

    def _stop(self, order: GuestStop, say: Say) -> None:
        _valid(order.uuid)
        if self.is_up(order.uuid):
            if not order.force:
                say(Progress(f"shutting {self.guests[order.uuid].spec.name} down"))
            self.end_guest(order.uuid, GuestState.STOPPED)
        if order.forget:
            self._forget(order.uuid)

    def _reset(self, uuid: Uuid) -> None:
        if not self.is_up(uuid):
            raise Rejected("the guest is not running", reason=Reason.STATE)

    def _forget(self, uuid: Uuid) -> None:
        if self.is_up(uuid):
            raise Rejected("the guest is running", reason=Reason.STATE)
        if uuid in self.guests:
            self._tell(GuestChanged(guest=self.guests.pop(uuid).live, forgotten=True))

    def _install(self, order: OsCreate | OsInstall, say: Say) -> None:
        if self._definition(order.run.os).trusted == isinstance(order, OsInstall):
            raise Rejected("the definition is none of that kind", reason=Reason.STATE)
        say(Progress(f"installing {order.run.os}"))
        for disk in order.run.disks:
            if disk.path not in self.disks:
                raise OperationFailed(f"{disk.path} is not there")
            self.disks[disk.path].content = order.run.os
        if order.run.os in self.failing_oses:
            raise OperationFailed(
                f"installing {order.run.name} failed: create ended with exit status 1",
                reason=Reason.ENVIRONMENT,
            )

    def _look(self, image: str) -> ImageFacts:
        if image not in self.images:
            raise Rejected(f"the image {image} cannot be read", reason=Reason.ENVIRONMENT)
        return ImageFacts(size=self.images[image])

    def _image(self, order: ImageWrite) -> None:
        if order.image not in self.images:
            raise Rejected(f"the image {order.image} cannot be read", reason=Reason.ENVIRONMENT)
        if order.disk.path not in self.disks:
            raise OperationFailed(f"{order.disk.path} is not there")
        self.disks[order.disk.path].content = order.image

    def _rename(self, order: OsRename, say: Say) -> None:
        self._definition(order.run.os)
        for disk in order.run.disks:
            if disk.path not in self.disks:
                raise OperationFailed(f"{disk.path} is not there")
        if order.run.os in self.failing_oses:
            raise OperationFailed(
                f"telling {order.run.name} its new name failed: rename ended with exit status 1",
                reason=Reason.ENVIRONMENT,
            )

    def _definition(self, full_name: str) -> OsFacts:
        base = names.os_name(full_name).partition("+")[0]
        for facts in self.oses:
            if facts.name == base:
                return facts
        raise Rejected(f"the OS definition {base!r} was not found", reason=Reason.UNKNOWN)

    def _run_hooks(self, order: HooksRun) -> HooksRan:
        self.hook_runs.append(order)
        found = [
            self._unless_disabled(result)
            for directory in order.directories
            for result in self.hooks.get(self._hook_directory(directory), {}).values()
        ]
        return HooksRan(results=tuple(sorted(found, key=lambda one: (one.script, one.directory))))

    def _unless_disabled(self, result: ScriptResult) -> ScriptResult:
        word = self.switched.get(f"{result.directory}/{result.script}")
        if word is None or word.enabled:
            return result
        return ScriptResult(
            directory=result.directory,
            script=result.script,
            status=ScriptStatus.SKIPPED,
            problem=why(word),
        )

    @staticmethod
    def _hook_directory(directory: HookDirectory) -> str:
        return names.plain(directory.name, "a hooks directory")

    def _write(self, files: dict[str, str]) -> None:
        for name in files:
            if not _SSCONF.fullmatch(name):
                raise Rejected(f"{name!r} is not a file that a master may write")
        self.files.update(files)

    def _switch(self, order: HookSwitch) -> None:
        for script in order.scripts:
            if script.count("/") != 1:
                raise Rejected(f"{script!r} is no script of a directory of hooks")
        words = [
            Switched(
                script=script,
                enabled=order.enabled,
                since=order.since,
                by=order.by,
                reason=order.reason,
            )
            for script in order.scripts
        ]
        self.switched = merged(self.switched, words)

    def _read_hook_files(self) -> HookInventory:
        here = self.bundles_of(HOOKS)
        paths = {*here.paths, *here.local}
        paths |= {f"{where}/{name}" for where, scripts in self.hooks.items() for name in scripts}
        found = [path.partition("/") for path in sorted(paths)]
        return HookInventory(
            user=0,
            files=tuple(HookFile(directory=where, name=name) for where, _, name in found),
            disabled=tuple(one for one, word in self.switched.items() if not word.enabled),
        )

    # What a next master needs

    def _ready(self) -> None:
        if not self.waiting:
            raise Rejected(f"no master process waits on node {self.name}", reason=Reason.STATE)

    def _piece(self, order: StatePiece) -> None:
        if not _COPY.fullmatch(order.copy) or order.file not in ("state", "history"):
            raise Rejected("that is no copy of a state")
        data = self.pieces.setdefault((order.copy, order.file), bytearray())
        data[order.offset :] = order.data

    def _complete(self, order: StateComplete) -> None:
        if order.take_over and self.taken_over[0] == order.copy:
            return
        if order.take_over:
            self._ready()
        files = {}
        for one in order.files:
            data = bytes(self.pieces.pop((order.copy, one.file), b""))
            if hashlib.sha256(data).hexdigest() != one.sha256:
                raise OperationFailed("the copy is not what was sent")
            files[one.file] = data
        if list(files) == ["history"]:
            self.history = files["history"]
        elif order.take_over:
            self.taken_over = (order.copy, files)
        else:
            self.copies = [*self.copies, files][-2:]

    # Questions

    def answer(self, question: AnyQuestion) -> msgspec.Struct:
        """What the agent would say."""
        table: dict[type, Callable[[Any], msgspec.Struct]] = {
            OsVerify: self._verify,
            ReadOsTexts: lambda question: OsTexts(),
            ReadImage: lambda question: self._look(question.image),
            OsDiagnose: lambda question: OsList(oses=self.oses, search_path=_SEARCH_PATH),
            ReadFacts: lambda question: self.facts(),
            ReadGuests: lambda question: GuestList(guests=self.live),
            ReadConsole: self._console,
            ReadHooks: self._read_hooks,
            Inspect: self._inspect,
            ReadDisks: self._read_disks,
            ReadHookFiles: lambda question: self._read_hook_files(),
            ReadBundle: lambda question: self.bundles_of(question.target).read(),
            ReadMasterFiles: lambda question: MasterFilesHeld(
                digests=self._digests(), api=self.master_files.get("pki/api.pem", "")
            ),
            Resolve: lambda question: Resolved(problem=f"{question.name} does not resolve"),
        }
        backup = self.exports.questions.get(type(question)) or self.replicas.questions.get(
            type(question)
        )
        return backup(question) if backup else table[type(question)](question)

    def _read_hooks(self, question: ReadHooks) -> ListedHooks:
        return ListedHooks(sequences=tuple(self._listed(one) for one in question.sequences))

    def _listed(self, sequence: HookSequence) -> tuple[ListedScript, ...]:
        found = [
            ListedScript(
                directory=directory.name,
                script=result.script,
                version=directory.version,
                skip=result.problem if result.status is ScriptStatus.SKIPPED else "",
                problem=result.problem if result.status is ScriptStatus.FAILED else "",
                timeout=timeouts.HOOK_SCRIPT,
            )
            for directory in sequence.directories
            for result in self.hooks.get(self._hook_directory(directory), {}).values()
        ]
        return tuple(sorted(found, key=lambda one: (one.script, one.directory)))

    def _console(self, question: ReadConsole) -> ConsoleAddress:
        if not self.is_up(_valid(question.uuid)):
            raise Rejected("the guest is not running", reason=Reason.STATE)
        return ConsoleAddress(kind="message", message="no console")

    def _verify(self, question: OsVerify) -> Nothing:
        base = question.os.partition("+")[0]
        if question.required or any(facts.name == base for facts in self.oses):
            self._definition(question.os)
        return Nothing()

    def _inspect(self, question: Inspect) -> Inspection:
        return Inspection(
            facts=self.facts(),
            guests=self.live,
            oses=self.oses,
            disks=tuple(sorted(self.disks)),
            master_files=self._digests(),
            master_waits=self.waiting,
            problems=tuple(
                ("EINSTANCEMISSINGDISK", path, f"disk {path} is not on {self.name}")
                for path in question.disks
                if path not in self.disks
            ),
        )

    def tell_guest(self, live: GuestLive, *, forgotten: bool = False) -> None:
        """Event streams are told how a guest is."""
        self._tell(GuestChanged(guest=live, forgotten=forgotten))

    def _tick(self) -> float:
        self._time += 1.0
        return self._time

    def _tell(self, event: Event) -> None:
        for changed in tuple(self._changed):
            changed(event)


class World:
    """All nodes."""

    def __init__(self) -> None:
        self.nodes: dict[Uuid, FakeNode] = {}
        self.twice: list[str] = []
        """Guests that ran on two nodes at a time, which must never be."""

    def add(self, node: FakeNode) -> FakeNode:
        """One more machine."""
        self.nodes[node.uuid] = node
        node.started = self._started
        node.moving.nodes = self.nodes
        node.replicas.others = lambda: self.nodes
        return node

    def _started(self, uuid: Uuid) -> None:
        running = [
            node.name
            for node in self.nodes.values()
            if uuid in node.guests and node.guests[uuid].live.state is GuestState.RUNNING
        ]
        if len(running) > 1:
            self.twice.append(f"{uuid} on {' and '.join(running)}")

    def state(self) -> dict[str, dict[str, object]]:
        """The state of all nodes by name; equal worlds have equal states."""
        return {node.name: node.state() for node in self.nodes.values()}

    def remains(self) -> dict[str, tuple[str, ...]]:
        """The names of guests that are not up and that nodes still keep something of."""
        return {
            node.name: tuple(sorted(live.name for live in node.live if not live.up))
            for node in self.nodes.values()
        }


def _valid(uuid: Uuid) -> Uuid:
    if not names.is_uuid(uuid):
        raise Rejected(f"{uuid!r} is not a uuid")
    return uuid
