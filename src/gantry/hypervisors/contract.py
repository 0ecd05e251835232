"""What every hypervisor driver does; the agent knows drivers only by this Protocol.

All methods are idempotent: starting what runs and stopping what does not are successes.
Errors: OperationFailed (it was tried; the message has the hypervisor's own words),
Rejected (the specification cannot be run here).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec

from gantry.model.entities import DiskFormat, ParameterValue
from gantry.model.live import GuestLive, HypervisorFacts
from gantry.model.moving_orders import Described, Ports
from gantry.model.names import Uuid
from gantry.model.orders import ConsoleAddress, DiskSpec, GuestSpec, NicSpec
from gantry.model.specs import MirrorTarget

Say: TypeAlias = Callable[[str], None]
"""Takes a line for the job's log."""


Whole: TypeAlias = tuple[tuple[Uuid, Uuid], ...]
"""Replicas, each by its disk and its node, that are the same as the guest's mirrored disks."""


Freed: TypeAlias = Awaitable[object] | None
"""It comes about when nobody serves the guest's replicas here any more."""


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One end of the way between two nodes: TLS, and no other peer than the one named.

    ``directory`` has the certificates under the names that QEMU looks for; it is read before a
    method returns. ``host`` is the address to listen at, or to call. ``peer`` is the subject
    of the caller's certificate (``identity.node_subject``), or the host name in that of the one
    who is called. ``node``: of a guest that is received, where it is now.
    """

    directory: str
    host: str
    peer: str
    node: Uuid | None = None


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """How a guest is sent: as in ``GuestSend``."""

    live: bool = True
    downtime: int = 100
    bandwidth: int = 0
    lasts: float = 3600.0
    node: Uuid | None = None


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """A guest that lives as long as one script, and is nobody's instance.

    ``image`` is what it boots from; what it writes to it is lost. ``disks`` are raw files or
    block devices on the node, which come after it. ``package`` is an open file that is its last
    disk, with the serial number ``os-package``, and cannot be written to; ``results`` an open
    pipe, into which its second serial port writes. The first one is its output.
    """

    name: str
    memory: int
    vcpus: int
    image: str
    image_format: DiskFormat
    disks: tuple[str, ...]
    nics: tuple[NicSpec, ...] = ()
    hvparams: Mapping[str, ParameterValue] = {}
    package: int
    results: int


class Program(msgspec.Struct, frozen=True):
    """A command, and open files of ours that it has under the same numbers."""

    argv: tuple[str, ...]
    inherited: tuple[int, ...]


class Console(Protocol):
    """One attached reader and writer of a guest's serial console."""

    def output(self) -> AsyncIterator[bytes]:
        """What the guest writes from now on, after a short tail of what it wrote before."""

    async def write(self, data: bytes) -> None:
        """Type into the console."""

    async def close(self) -> None:
        """Detach; the console goes on being drained and logged."""


class Hypervisor(Protocol):
    """One driver on one node. ``root`` and directories are given when it is built."""

    @property
    def name(self) -> str:
        """``kvm``, ``fake``."""

    async def facts(self) -> HypervisorFacts:
        """What it offers here; cheap after the first call."""

    async def open(self, changed: Callable[[GuestLive], None]) -> None:
        """Adopt the guests that an earlier agent left running, and tell every later change.

        ``changed`` is called in the event loop: a guest started, died, shut itself down.
        """

    async def start(self, spec: GuestSpec, *, paused: bool = False) -> GuestLive:
        """Start the guest, or say how it is if it is up already."""

    async def stop(
        self,
        uuid: Uuid,
        *,
        timeout: float,
        force: bool = False,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        """Ask the guest to shut down, wait, then power it off. Cancelled: the guest stays."""

    async def reset(self, uuid: Uuid) -> None:
        """Reset the running guest."""

    async def forget(self, uuid: Uuid) -> None:
        """Drop what is kept of a guest that is not up."""

    def guests(self) -> tuple[GuestLive, ...]:
        """Every guest known, from memory."""

    async def read_guests(self) -> tuple[GuestLive, ...]:
        """Every guest, asked now."""

    def installation(self, guest: Installation) -> AbstractAsyncContextManager[Program]:
        """What runs such a guest, and ends when the guest is off; Rejected where it cannot be.

        It may be run once, within the context.
        """

    async def console(self, uuid: Uuid) -> Console:
        """Attach to a running guest's serial console."""

    async def console_address(self, uuid: Uuid) -> ConsoleAddress:
        """Where the console is."""

    async def resize_disk(self, uuid: Uuid, index: int, size: int) -> bool:
        """A disk of a running guest has ``size`` MiB afterwards, and the guest sees it.

        One that is larger stays as it is. False: nothing was done, as the guest does not have
        the disk's file open.
        """

    async def plug_disk(self, uuid: Uuid, disk: DiskSpec) -> None:
        """A running guest has the disk from now on; it may have it already.

        One with targets is mirrored there before the guest sees it, and is the same there.
        """

    async def unplug_disk(
        self, uuid: Uuid, disk: DiskSpec, timeout: float, *, keep: bool = False
    ) -> None:
        """A running guest has let go of the disk; OperationFailed where it has not in time.

        What it has not, or another disk in that place, is left alone. ``keep``: the disk stays
        open, and mirrored, for ``plug_disk`` to give it back.
        """

    async def convert_disk(self, uuid: Uuid, disk: DiskSpec) -> None:
        """A disk of a guest that is up is of this template from now on, in the same file.

        One that becomes mirrored has its replica here open already. One that becomes a file is
        mirrored no more; writes that wait go on.
        """

    async def open_snapshot(
        self, uuid: Uuid, overlays: Mapping[int, str], *, say: Say, mark: str | None = None
    ) -> None:
        """Keep the content that the running guest's disks have now, while it goes on writing.

        ``overlays`` are paths of files to be made, by index of the disk: for the old content of
        what is written over. One of all disks, at one moment; where the guest has an agent, its
        file systems are frozen for that moment, and ``say`` hears what came of it. ``mark``:
        from that moment on changes of these disks are counted under this name.
        """

    async def close_snapshot(
        self, uuid: Uuid, overlays: Mapping[int, str], *, check: bool = False
    ) -> None:
        """Keep it no longer, and remove the overlays; a guest that is gone needs neither.

        ``check``: OperationFailed where it was not kept to the end.
        """

    async def marks(self, uuid: Uuid) -> dict[str, tuple[int, ...]]:
        """Since when changes are counted, and on which disks; nothing of a guest that is not up."""

    async def copy_changes(
        self, uuid: Uuid, files: Mapping[int, str], *, since: str, mark: str, say: Say
    ) -> None:
        """Copy what changed since ``since``, as all disks are now, and wait until that is done.

        ``files``: by index of the disk an empty qcow2 file, which gets the changed blocks. From
        now on changes are counted under ``mark``, and under ``since``, too; other marks are
        dropped. The guest goes on. OperationFailed where ``since`` is not counted: then, and
        where it breaks, ``mark`` is not either.
        """

    async def end_changes(self, uuid: Uuid) -> None:
        """End a copy that another agent began; the files are nobody's afterwards."""

    async def drop_marks(self, uuid: Uuid, marks: Collection[str]) -> None:
        """Count no longer; a mark or a guest that is gone is dropped already."""

    def snapshot(self, uuid: Uuid) -> Path | None:
        """The directory with the socket ``snapshot``, an NBD server of exports ``disk<index>``.

        None where the guest does not write at all: its disks' files are the snapshot.
        """

    async def attach_mirror(self, uuid: Uuid, index: int, target: MirrorTarget) -> None:
        """Mirror a disk of a guest that is up to one more node; what comes of it is told.

        One that is attached to that node already stays.
        """

    async def release_mirror(
        self, uuid: Uuid, index: int, node: Uuid, *, forget: bool = False
    ) -> None:
        """Mirror it there no longer, and let the writes go on that wait for it.

        Nothing where the guest is not up, or has no such mirror. ``forget``: nor need it be known
        what the replica there lacks, also where it is not mirrored to any more.
        """

    async def describe(self, uuid: Uuid) -> Described:
        """What the running guest was started with; Rejected where it is not running."""

    async def receive(
        self, spec: GuestSpec, accelerator: str, link: Link, disks: Sequence[int]
    ) -> Ports:
        """Wait for the guest, without running anything of it; again: the same ports.

        It is PAUSED until ``resume``. ``disks`` are written by the peer. Rejected where it is up
        here, or cannot run as it runs there.
        """

    async def send(
        self,
        uuid: Uuid,
        link: Link,
        ports: Ports,
        disks: Sequence[int],
        manner: Manner,
        progress: Callable[[str], None],
    ) -> Whole:
        """Send the running guest; afterwards it is PAUSED, and the other end has all of it.

        What is under way already is gone on with. Where it fails or is cancelled, the guest goes
        on here. Disks that are mirrored are not mirrored any more afterwards; given back are the
        replicas that are the same as they.
        """

    async def resume(
        self, uuid: Uuid, disks: Sequence[DiskSpec] = (), freed: Freed = None
    ) -> GuestLive:
        """The received guest runs; again: it does so already.

        ``disks`` are all of its disks with their targets, where they are mirrored, else none: its
        replicas here, once they are ``freed``, are its own, and mirrored, before that.
        Where one cannot be had the guest stays PAUSED until that mirror is released. Rejected
        where it never ran and is gone for good, or not received whole (then it is ended).
        """

    async def take_back(self, uuid: Uuid) -> None:
        """What is being sent, or was, goes on here; done where it runs, or is gone.

        Its disks are mirrored again before that; where a replica cannot be had, it stays PAUSED
        and its mirror is told as lost until that is released.
        """

    async def drop(self, uuid: Uuid) -> None:
        """End the guest that was sent, or what waits for one; one that runs stays as it is."""

    async def close(self) -> None:
        """Let go of everything; the guests go on running."""


class Replicas(Protocol):
    """What a driver needs of the node's mirrored disks; given to it when it is built.

    Disks of other templates are none of its business.
    """

    async def open(self, disks: Sequence[DiskSpec]) -> Callable[[], Awaitable[None]]:
        """A guest is about to write to them; durable when this returns.

        Gives back what makes that undone, where nothing was written after all. Rejected where
        one of them must not be used.
        """

    async def inherit(self, disks: Sequence[DiskSpec]) -> Callable[[], Awaitable[None]]:
        """The same where another node wrote to them until now, and all replicas are the same.

        They take the disks' generation. Gives back what says that nothing was written.
        """

    async def closed(self, disks: Sequence[DiskSpec], kept: Collection[Uuid] = ()) -> None:
        """All that was written is safe, and on all replicas; nobody writes any more.

        ``kept``: the disks for which what was counted has been kept, by their uuids.
        """

    def bitmaps(self, disk: DiskSpec) -> Path:
        """The file for what was counted, while nobody writes."""

    async def kept(self, disks: Sequence[DiskSpec]) -> frozenset[Uuid]:
        """The disks that nobody has written to since that was kept; to be asked before ``open``."""


class Peers(Protocol):
    """How other nodes' exports of replicas are reached; given to a driver when it is built."""

    def credentials(self) -> Path:
        """A directory with this node's certificates, under the names that QEMU looks for."""

    def host(self, node: Uuid) -> str:
        """The name that the certificate of ``node`` has."""

    async def exports(self, target: MirrorTarget, *, until: str = "") -> list[str]:
        """The names of what is served there. OSError, EOFError: it does not answer.

        ``until``: that is waited for, for less than 10 s.
        """

    async def hang_up(self, target: MirrorTarget) -> bool:
        """End this node's connections to it, so that whoever had one makes it anew.

        False where there are some that cannot be ended.
        """


class Taps(Protocol):
    """What a driver needs of the node's networks; given to it when it is built."""

    async def open(self, guest: str, nic: NicSpec, *, offload: bool) -> int:
        """An open tap device joined to the NIC's link; it is gone once nobody has it open.

        ``offload``: with the headers that virtio uses. Rejected or OperationFailed.
        """
