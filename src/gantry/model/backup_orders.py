"""Orders and questions about exports, and about moving the bytes of disks between nodes.

A transfer has a number of its own, which both ends know. The receiving end is opened first and
says where it listens; the sending end is one order that lasts until all is sent; then the
receiving end is closed, which says what came. Python moves none of the bytes.
"""

from __future__ import annotations

import enum
import hashlib
from typing import ClassVar, TypeAlias

import msgspec

from gantry.model.asking import AfterDeath, Nothing, Order, Question
from gantry.model.export_facts import CONFIG as CONFIG
from gantry.model.export_facts import FACTS as FACTS
from gantry.model.export_facts import DumpFacts
from gantry.model.increment_orders import IncrementOrder, IncrementQuestion
from gantry.model.names import Uuid
from gantry.model.specs import DiskSpec, OsRun

EXPORT_DIRECTORY = "/var/lib/ganeti/export"
"""On every node: one directory an instance."""


class Compression(enum.StrEnum):
    """What is done to the bytes on their way, under the names that users of Ganeti know."""

    NONE = "none"
    GZIP = "gzip"
    GZIP_FAST = "gzip-fast"
    GZIP_SLOW = "gzip-slow"
    LZOP = "lzop"
    ZSTD = "zstd"


class Way(enum.StrEnum):
    """How bytes travel: in a row, or as blocks with holes left out (NBD)."""

    STREAM = "stream"
    BLOCKS = "blocks"


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """The node at the other end; only its certificate is accepted."""

    node: Uuid
    name: str
    host: str


class DumpFile(msgspec.Struct, frozen=True, kw_only=True, tag="dump"):
    """A file of an export: ``name`` in the directory of ``instance``.

    As a landing it is in the export that is being made; ``size`` (MiB) is that of a raw image,
    0 where nobody knows it. ``below`` are the dumps that it rests on, next first.
    """

    instance: str
    name: str
    size: int = 0
    directory: str = EXPORT_DIRECTORY
    below: tuple[str, ...] = ()


class WholeDisk(msgspec.Struct, frozen=True, kw_only=True, tag="disk"):
    """A disk's whole content, as it is. ``guest``: it runs, and its snapshot is meant."""

    disk: DiskSpec
    guest: Uuid | None = None


class ChangedBlocks(msgspec.Struct, frozen=True, kw_only=True, tag="changes"):
    """The file beside a disk that ``ChangesOpen`` made; it can be sent only."""

    disk: DiskSpec


class ScriptedDisk(msgspec.Struct, frozen=True, kw_only=True, tag="script"):
    """A disk through the ``export`` or ``import`` script of its instance's OS definition."""

    run: OsRun
    index: int
    guest: Uuid | None = None


Place: TypeAlias = DumpFile | WholeDisk | ScriptedDisk | ChangedBlocks


class Listening(msgspec.Struct, frozen=True):
    """Where the receiving end waits for the sending one."""

    port: int


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """What went through an end: bytes before compression, and how long it took in seconds.

    ``counted`` is False where blocks went through, which are acknowledged one by one.
    """

    size: int
    seconds: float
    counted: bool = True


class TransferOpen(Order[Listening], frozen=True, kw_only=True, tag="transfer-open"):
    """Wait for ``peer`` to send, and put what comes into ``place``. Undo: TransferAbort."""

    answer: ClassVar[type[msgspec.Struct]] = Listening
    transfer: Uuid
    way: Way
    compress: Compression
    peer: Peer
    place: Place
    lasts: float
    """Seconds after which it is given up."""


class TransferSend(Order[Moved], frozen=True, kw_only=True, tag="transfer-send"):
    """Send what is in ``place`` to ``peer``, which listens; lasts until all is sent."""

    answer: ClassVar[type[msgspec.Struct]] = Moved
    after_death: ClassVar[AfterDeath] = AfterDeath.INTERRUPTED
    transfer: Uuid
    way: Way
    compress: Compression
    peer: Peer
    port: int
    place: Place


class TransferClose(Order[Moved], frozen=True, kw_only=True, tag="transfer-close"):
    """All is sent: wait until it is kept safely. ``failed``: it was not; say what went wrong."""

    answer: ClassVar[type[msgspec.Struct]] = Moved
    transfer: Uuid
    failed: bool = False


class TransferAbort(Order[Nothing], frozen=True, kw_only=True, tag="transfer-abort"):
    """End the receiving end; one that is not there has ended already."""

    transfer: Uuid


class SnapshotOpen(Order[Nothing], frozen=True, kw_only=True, tag="snapshot-open"):
    """Keep what is in these disks of a running guest now, while it goes on writing.

    ``mark``: from now on changes are counted under this name.
    """

    guest: Uuid
    hypervisor: str
    disks: tuple[DiskSpec, ...]
    mark: Uuid | None = None


class SnapshotClose(Order[Nothing], frozen=True, kw_only=True, tag="snapshot-close"):
    """Keep it no longer. ``check``: fail where it was not kept to the end.

    ``drop``: changes since then are counted no longer.
    """

    guest: Uuid
    hypervisor: str
    disks: tuple[DiskSpec, ...]
    check: bool = False
    drop: Uuid | None = None


class ExportBegin(Order[Nothing], frozen=True, kw_only=True, tag="export-begin"):
    """Make an empty directory for a new export of ``instance``, beside the one that is there.

    ``upon``: a point that it ends with; the new one has all of it, and gets one point more.
    """

    instance: str
    upon: int | None = None


class ExportDiscard(Order[Nothing], frozen=True, kw_only=True, tag="export-discard"):
    """The new export of ``instance`` will not be: nothing of it stays."""

    instance: str


class Digests(msgspec.Struct, frozen=True):
    """SHA-256 of files, by name."""

    sha256: dict[str, str]


class ExportDigest(Order[Digests], frozen=True, kw_only=True, tag="export-digest"):
    """Read these dumps of an export. ``new``: of the one that is being made."""

    answer: ClassVar[type[msgspec.Struct]] = Digests
    instance: str
    names: tuple[str, ...]
    new: bool = False


class ExportFinish(Order[Nothing], frozen=True, kw_only=True, tag="export-finish"):
    """The new export is complete: it takes the place of the old one, which is set aside.

    ``config`` and ``facts`` are the texts of its two descriptions. ``point``: its number, of one
    that was begun upon others.
    """

    instance: str
    config: str
    facts: str
    point: int = 1


class ExportRevert(Order[Nothing], frozen=True, kw_only=True, tag="export-revert"):
    """Take the finished export away again; the old one comes back.

    ``digest`` is that of its description (``config_digest``): no other export is touched.
    """

    instance: str
    digest: str


def config_digest(config: str, point: int = 1) -> str:
    """What tells an export from others of the same instance, by its last point."""
    text = config if point == 1 else f"{point} {config}"
    return hashlib.sha256(text.encode()).hexdigest()


class ExportSettle(Order[Nothing], frozen=True, kw_only=True, tag="export-settle"):
    """The job has succeeded: what it set aside is deleted.

    ``digest`` is that of the export that took its place (``config_digest``), if one did.
    """

    instance: str
    digest: str = ""


class ExportRemove(Order[Nothing], frozen=True, kw_only=True, tag="export-remove"):
    """The export of ``instance`` is deleted; one that is not there is deleted already.

    ``before``: seconds since 1970; one that was made later is not meant. What is owed to a node
    for long does not take away what was exported to it since. One of several points is not meant,
    nor one of another instance than ``owner`` (a uuid), which had the name then.
    """

    instance: str
    before: float | None = None
    owner: str = ""


class PointFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One point of an export, for lists. ``size`` is what its own files take, in MiB."""

    number: int
    time: float
    incremental: bool
    size: int
    problem: str = ""


class ExportFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One export of a node, for lists. ``size`` is what its files take, in MiB.

    ``problem`` says why it cannot be imported; ``directory`` is the one that it is in; ``time``
    is that of its last point.
    """

    name: str
    directory: str = EXPORT_DIRECTORY
    time: float = 0.0
    os: str = ""
    disks: int = 0
    size: int = 0
    problem: str = ""
    points: tuple[PointFacts, ...] = ()


class ExportList(msgspec.Struct, frozen=True):
    """All exports of a node that are complete."""

    exports: tuple[ExportFacts, ...]


class ReadExports(Question[ExportList], frozen=True, kw_only=True, tag="exports"):
    """What exports there are."""

    answer: ClassVar[type[msgspec.Struct]] = ExportList


class ExportContents(msgspec.Struct, frozen=True, kw_only=True):
    """One point of an export: its descriptions as they are.

    ``files`` are those of the export with their sizes in bytes, ``points`` all its points, and
    ``dumps`` what is said of the dumps of all.
    """

    config: str
    facts: str
    files: dict[str, int]
    point: int = 1
    points: tuple[int, ...] = (1,)
    dumps: tuple[DumpFacts, ...] = ()


class ReadExport(Question[ExportContents], frozen=True, kw_only=True, tag="export"):
    """The export in ``directory``, at ``point`` or at its last one. Rejected (UNKNOWN): none."""

    answer: ClassVar[type[msgspec.Struct]] = ExportContents
    directory: str
    point: int | None = None


class Missing(msgspec.Struct, frozen=True):
    """Programs that are not installed."""

    programs: tuple[str, ...]


class ReadPrograms(Question[Missing], frozen=True, kw_only=True, tag="programs"):
    """Whether the programs that a transfer with this compression needs are installed."""

    answer: ClassVar[type[msgspec.Struct]] = Missing
    compress: Compression


BackupOrder: TypeAlias = (
    TransferOpen
    | TransferSend
    | TransferClose
    | TransferAbort
    | SnapshotOpen
    | SnapshotClose
    | ExportBegin
    | ExportDiscard
    | ExportDigest
    | ExportFinish
    | ExportRevert
    | ExportSettle
    | ExportRemove
    | IncrementOrder
)
BackupQuestion: TypeAlias = ReadExports | ReadExport | ReadPrograms | IncrementQuestion
