"""What a master asks of an agent: the wire types of orders (effects) and questions (reads).

An order is *make-it-so*: issued again under the same key it gives the same answer and does
nothing twice. Each order type names the type of its answer. Undo is another order, as data.
Paths are the node's own, without its root (``/srv/ganeti/…``); the agent puts its root
before them. Sizes are MiB, times seconds.
"""

from __future__ import annotations

import enum
from typing import Any, ClassVar, Final, TypeAlias

import msgspec

from gantry.model.asking import AfterDeath as AfterDeath
from gantry.model.asking import Nothing as Nothing
from gantry.model.asking import Order as Order
from gantry.model.asking import Question as Question
from gantry.model.backup_orders import BackupOrder, BackupQuestion
from gantry.model.backup_orders import TransferOpen as TransferOpen
from gantry.model.backup_orders import TransferSend as TransferSend
from gantry.model.bundle_orders import BundleInstall as BundleInstall
from gantry.model.bundle_orders import BundleRestore as BundleRestore
from gantry.model.bundle_orders import ReadBundle as ReadBundle
from gantry.model.candidate_orders import MasterFiles as MasterFiles
from gantry.model.candidate_orders import MasterFilesHeld as MasterFilesHeld
from gantry.model.candidate_orders import ReadMasterFiles as ReadMasterFiles
from gantry.model.disk_orders import DiskConvert as DiskConvert
from gantry.model.disk_orders import DiskGrow as DiskGrow
from gantry.model.disk_orders import DiskPlug as DiskPlug
from gantry.model.disk_orders import DiskUnplug as DiskUnplug
from gantry.model.disk_orders import ReadDisks as ReadDisks
from gantry.model.hook_files import ReadHookFiles
from gantry.model.hook_orders import HookDirectory as HookDirectory
from gantry.model.hook_orders import HooksRan as HooksRan
from gantry.model.hook_orders import HooksRun as HooksRun
from gantry.model.hook_orders import ReadHooks as ReadHooks
from gantry.model.hook_orders import ScriptResult as ScriptResult
from gantry.model.hook_orders import ScriptStatus as ScriptStatus
from gantry.model.hook_orders import Stream as Stream
from gantry.model.hook_runs import ReadHookRun, ReadHookRuns
from gantry.model.hook_switch import HookSwitch
from gantry.model.image_orders import ImageWrite, ReadImage
from gantry.model.live import GuestLive, NodeFacts, OsFacts
from gantry.model.master_orders import MasterReady as MasterReady
from gantry.model.master_orders import ReadMaster as ReadMaster
from gantry.model.master_orders import StateComplete as StateComplete
from gantry.model.master_orders import StateFile as StateFile
from gantry.model.master_orders import StatePiece as StatePiece
from gantry.model.moving_orders import MovingOrder
from gantry.model.names import Uuid
from gantry.model.os_texts import ReadOsTexts
from gantry.model.power import PowerRun as PowerRun
from gantry.model.power import PowerSaid as PowerSaid
from gantry.model.replica_orders import ReplicaOrder, ReplicaQuestion
from gantry.model.specs import DiskSpec as DiskSpec
from gantry.model.specs import GuestSpec as GuestSpec
from gantry.model.specs import InstallationGuest as InstallationGuest
from gantry.model.specs import NicSpec as NicSpec
from gantry.model.specs import OsRun as OsRun

# Disks


class DiskCreate(Order[Nothing], frozen=True, kw_only=True, tag="disk-create"):
    """Make an empty disk. Fails with the node's free space where it does not fit."""

    disk: DiskSpec


class DiskRemove(Order[Nothing], frozen=True, kw_only=True, tag="disk-remove"):
    """Remove a disk; one that is not there is removed already.

    ``untouched``: only what creating the disk gives; one with content stays.
    """

    disk: DiskSpec
    untouched: bool = False


class DiskMove(Order[Nothing], frozen=True, kw_only=True, tag="disk-move"):
    """The disk is at ``path`` afterwards, on the same file system; done if it is there already."""

    disk: DiskSpec
    path: str


# Guests


class GuestStart(Order[GuestLive], frozen=True, kw_only=True, tag="guest-start"):
    """Start the guest; one that is up already is left as it is."""

    answer: ClassVar[type[msgspec.Struct]] = GuestLive
    spec: GuestSpec
    paused: bool = False


class GuestStop(Order[Nothing], frozen=True, kw_only=True, tag="guest-stop"):
    """Shut the guest down in order, and after ``timeout`` power it off. ``force``: at once.

    ``forget``: then drop what the node keeps of it, as ``GuestForget`` does.
    """

    uuid: Uuid
    hypervisor: str
    timeout: float
    force: bool = False
    forget: bool = False


class RebootKind(enum.StrEnum):
    """How ``gnt-instance reboot`` does it."""

    SOFT = "soft"
    HARD = "hard"
    FULL = "full"


class GuestReset(Order[Nothing], frozen=True, kw_only=True, tag="guest-reset"):
    """Reset a running guest from within its process (a soft reboot)."""

    uuid: Uuid
    hypervisor: str


class GuestForget(Order[Nothing], frozen=True, kw_only=True, tag="guest-forget"):
    """Drop what the node still keeps of a guest that is not running (logs, sockets)."""

    uuid: Uuid
    hypervisor: str


# Scripts of OS definitions


class OsCreate(Order[Nothing], frozen=True, kw_only=True, tag="os-create"):
    """Run a definition's ``create``. After an interruption the disks are made anew first."""

    after_death: ClassVar[AfterDeath] = AfterDeath.INTERRUPTED
    run: OsRun
    reinstall: bool = False


class OsInstall(Order[Nothing], frozen=True, kw_only=True, tag="os-install"):
    """Run a definition's ``create_untrusted``, in a guest of its own; else like ``OsCreate``."""

    after_death: ClassVar[AfterDeath] = AfterDeath.INTERRUPTED
    run: OsRun
    guest: InstallationGuest
    reinstall: bool = False


class OsRename(Order[Nothing], frozen=True, kw_only=True, tag="os-rename"):
    """Run a definition's ``rename``; ``run.name`` is the new name already.

    It is not run again after an interruption: what it has done cannot be undone.
    """

    after_death: ClassVar[AfterDeath] = AfterDeath.INTERRUPTED
    run: OsRun
    old_name: str


OS_SCRIPTS: Final = (OsCreate, OsInstall, OsRename)
"""The orders that run a script of an OS definition, which is given secret parameters."""


class OsVerify(Question[Nothing], frozen=True, kw_only=True, tag="os-verify"):
    """Find the definition, check variant and parameters, run its ``verify``. Error: Rejected.

    A question is never kept, so secret parameters may be in it.
    """

    os: str
    parameters: dict[str, str] = {}
    private_parameters: dict[str, str] = {}
    secret_parameters: dict[str, str] = {}
    force_variant: bool = False
    required: bool = True


class OsList(msgspec.Struct, frozen=True, kw_only=True):
    """All definitions of a node, the shadowed ones included, in the order found."""

    oses: tuple[OsFacts, ...]
    search_path: tuple[str, ...]


class OsDiagnose(Question[OsList], frozen=True, kw_only=True, tag="os-diagnose"):
    """Look at the definitions again, now."""

    answer: ClassVar[type[msgspec.Struct]] = OsList


# The node itself


class FilesWrite(Order[Nothing], frozen=True, kw_only=True, tag="files-write"):
    """Write small text files below ``/var/lib/ganeti`` (``ssconf_*``), each atomically."""

    files: dict[str, str]


class NodeLeave(Order[Nothing], frozen=True, kw_only=True, tag="node-leave"):
    """The node is not of the cluster any more: stop accepting orders, keep nothing of ours."""

    cluster: Uuid


class Delay(Order[Nothing], frozen=True, kw_only=True, tag="delay"):
    """Do nothing for ``duration`` seconds (tests, ``gnt-debug delay``)."""

    duration: float


class ReadFacts(Question[NodeFacts], frozen=True, kw_only=True, tag="facts"):
    """The node's facts, taken now."""

    answer: ClassVar[type[msgspec.Struct]] = NodeFacts


class GuestList(msgspec.Struct, frozen=True, kw_only=True):
    """All guests that the node knows of."""

    guests: tuple[GuestLive, ...]


class ReadGuests(Question[GuestList], frozen=True, kw_only=True, tag="guests"):
    """Every guest on the node, asked of the hypervisors now."""

    answer: ClassVar[type[msgspec.Struct]] = GuestList


class ConsoleAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a guest's console is, in the words of Ganeti's remote API."""

    kind: str
    path: str = ""
    host: str = ""
    port: int = 0
    message: str = ""


class ReadConsole(Question[ConsoleAddress], frozen=True, kw_only=True, tag="console"):
    """Where the console of a guest is."""

    answer: ClassVar[type[msgspec.Struct]] = ConsoleAddress
    uuid: Uuid
    hypervisor: str


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What a node's own check found: (error code of cluster verify, item, message) triples."""

    facts: NodeFacts
    guests: tuple[GuestLive, ...]
    oses: tuple[OsFacts, ...]
    disks: tuple[str, ...] = ()
    """The files in the file storage directories."""
    master_files: dict[str, str] = {}
    """As ``MasterFilesHeld.digests``."""
    master_waits: bool = True
    """Whether a master process waits there; also where the agent is too old to say."""
    problems: tuple[tuple[str, str, str], ...] = ()


class Inspect(Question[Inspection], frozen=True, kw_only=True, tag="inspect"):
    """Everything that ``gnt-cluster verify`` wants to know of a node, in one call.

    ``bridges``, ``disks`` and ``programs`` (that switch power) are what should be there.
    """

    answer: ClassVar[type[msgspec.Struct]] = Inspection
    storage_dirs: tuple[str, ...] = ()
    bridges: tuple[str, ...] = ()
    disks: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a name resolves on the node, and whether its address answers."""

    address: str | None = None
    answers: bool = False
    problem: str = ""


class Resolve(Question[Resolved], frozen=True, kw_only=True, tag="resolve"):
    """Look a name up (``name-check``) and, with ``ping``, see whether it is in use."""

    answer: ClassVar[type[msgspec.Struct]] = Resolved
    name: str
    ping: bool = False


AnyOrder: TypeAlias = (
    DiskCreate
    | DiskRemove
    | DiskMove
    | DiskGrow
    | DiskPlug
    | DiskUnplug
    | DiskConvert
    | GuestStart
    | GuestStop
    | GuestReset
    | GuestForget
    | OsCreate
    | OsInstall
    | OsRename
    | ImageWrite
    | HooksRun
    | BundleInstall
    | BundleRestore
    | FilesWrite
    | HookSwitch
    | NodeLeave
    | Delay
    | MasterReady
    | StatePiece
    | StateComplete
    | MasterFiles
    | PowerRun
    | BackupOrder
    | ReplicaOrder
    | MovingOrder
)
AnyQuestion: TypeAlias = (
    OsVerify
    | OsDiagnose
    | ReadOsTexts
    | ReadImage
    | ReadFacts
    | ReadGuests
    | ReadConsole
    | Inspect
    | ReadDisks
    | Resolve
    | ReadHooks
    | ReadMaster
    | ReadHookFiles
    | ReadMasterFiles
    | ReadHookRuns
    | ReadHookRun
    | ReadBundle
    | BackupQuestion
    | ReplicaQuestion
)

_encoder = msgspec.json.Encoder(order="sorted")
_order_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(AnyOrder)
_question_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(AnyQuestion)


def encode(item: msgspec.Struct) -> bytes:
    """An order, question or answer as JSON with sorted keys: equal values, equal bytes."""
    return _encoder.encode(item)


def decode_order(data: bytes) -> AnyOrder:
    """The order again; msgspec.ValidationError where it is none."""
    order: AnyOrder = _order_decoder.decode(data)
    return order


def decode_question(data: bytes) -> AnyQuestion:
    """The question again; msgspec.ValidationError where it is none."""
    question: AnyQuestion = _question_decoder.decode(data)
    return question
