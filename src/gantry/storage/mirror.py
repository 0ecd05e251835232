"""Disks that have replicas on several nodes (template ``mirror``): this node's one of each.

Files like those of template ``file``, at the same path on every node, allocated in full: a
replica that has no room for a write would be one that has lost it. Beside each lies its record
(``replica_record``). See docs/adr/0015-mirror.md.
"""

from __future__ import annotations

import asyncio
import functools
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final, TypeVar

import msgspec

from gantry.model.entities import DiskFormat, DiskTemplate, ReplicaState
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec
from gantry.model.replica_orders import ReplicaSeen
from gantry.storage import kept_bitmaps, replica_growth, replica_record
from gantry.storage.file import MIB, FileStorage, beside
from gantry.storage.replica_record import ReplicaRecord

_LOOK: Final = "look at the file; what is of use there can be copied away, and a replica made anew"
_T = TypeVar("_T")


class MirrorStorage(FileStorage):
    """Replicas as files, each with its record."""

    aside: ClassVar[tuple[str, ...]] = (
        *FileStorage.aside,
        replica_record.NAME,
        f"{replica_record.NAME}.new",
        kept_bitmaps.NAME,
    )

    async def make(self, disk: DiskSpec, path: Path) -> None:
        """An empty replica, allocated in full. All empty ones are the same: it is in sync."""
        if disk.format is not DiskFormat.RAW:
            raise Rejected(f"disk {disk.index} cannot be mirrored as {disk.format}", "use raw")
        made = await asyncio.to_thread(_allocate, path, disk.size)
        record = ReplicaRecord(
            disk=disk.uuid,
            generation=disk.generation,
            state=ReplicaState.IN_SYNC,
            size=disk.size,
            mtime_ns=made.st_mtime_ns,
            content=secrets.token_hex(8),
        )
        await asyncio.to_thread(replica_record.write, self._record(disk), record)

    def same(self, disk: DiskSpec, path: Path) -> None:
        """Nothing where it is this disk's replica and nobody ever wrote to it; else Rejected."""
        if not self._unwritten(disk):
            raise Rejected(
                f"{disk.path} exists already, and it is not an empty disk of {disk.size} MiB",
                "it may belong to an instance that is gone: look, and move it away",
                reason=Reason.EXISTS,
            )

    async def untouched(self, disk: DiskSpec) -> bool:
        """Whether it is there, and nobody ever wrote to it."""
        return await self._in_thread(disk, self._unwritten)

    async def move(self, disk: DiskSpec, path: str) -> None:
        """It is at ``path`` afterwards, with its record."""
        elsewhere = msgspec.structs.replace(disk, path=path)
        here, there = self._record(disk), self._record(elsewhere)

        def along() -> None:
            if here != there and here.exists() and not Path(self.real_path(elsewhere)).exists():
                there.parent.mkdir(exist_ok=True, parents=True, mode=0o750)
                there.write_bytes(here.read_bytes())

        with _told(disk):
            await asyncio.to_thread(along)
        await super().move(disk, path)

    async def open(self, disks: Sequence[DiskSpec]) -> Callable[[], Awaitable[None]]:
        """Somebody on this node is about to write to them. Durable when this returns.

        Gives back what makes the records what they were, where nothing was written after all.
        Disks of other templates are none of its business. Rejected where one must not be used,
        with the reason: foreign, of another generation, not in sync.
        """
        mirrored = [disk for disk in disks if disk.template is DiskTemplate.MIRROR]
        before = [(disk, await self._in_thread(disk, self._admit_here)) for disk in mirrored]
        for disk in mirrored:
            await self._in_thread(disk, self._open_here)

        async def undo() -> None:
            for disk, found in before:
                await asyncio.to_thread(replica_record.write, self._record(disk), found)

        return undo

    async def closed(self, disks: Sequence[DiskSpec], kept: Collection[Uuid] = ()) -> None:
        """All that was written to them since ``open`` is safe, and nobody writes any more.

        ``kept``: the disks for which what QEMU counted was put into ``bitmaps`` since ``open``.
        """
        for disk in disks:
            if disk.template is DiskTemplate.MIRROR:
                counted = disk.uuid in kept
                await self._in_thread(disk, functools.partial(self._closed, counted=counted))

    def bitmaps(self, disk: DiskSpec) -> Path:
        """The file for what QEMU counted, while nobody writes."""
        return beside(Path(self.real_path(disk)), kept_bitmaps.NAME)

    async def kept(self, disks: Sequence[DiskSpec]) -> frozenset[Uuid]:
        """The disks whose ``bitmaps`` hold: nobody has opened or changed them since."""
        mirrored = [disk for disk in disks if disk.template is DiskTemplate.MIRROR]
        return frozenset([one.uuid for one in mirrored if await self._in_thread(one, self._kept)])

    async def serve(self, disk: DiskSpec, *, overwrite: bool) -> str:
        """Another node is about to write to it; gives back the word for its content.

        Rejected where it must not be used. ``overwrite``: all of it will be written anew: it
        becomes this disk's and generation's, syncing, and is made where it is not there.
        """
        if overwrite and not await self.exists(disk):
            await self._in_thread(disk, self._forgotten)
            await self.create(disk)
        return await self._in_thread(disk, lambda one: self._serve(one, overwrite))

    async def mark(
        self, disk: DiskSpec, generation: int, state: ReplicaState, *, force: bool
    ) -> None:
        """Its record becomes this state, at the disk's generation; see the order."""
        await self._in_thread(disk, lambda one: self._mark(one, generation, state, force))

    async def reserve(self, disk: DiskSpec, size: int) -> None:
        """There is room for ``size`` MiB; for no more than it has, where that is less."""
        await self._in_thread(disk, lambda one: self._reserve(one, size))

    async def grow(self, disk: DiskSpec) -> None:
        """It has the disk's size. Rejected where it is not that disk's."""
        await self._in_thread(disk, self._grown)

    async def growing(self, disk: DiskSpec) -> None:
        """Who has it open is about to give it the disk's size; there is room. Durable."""
        await self._in_thread(disk, self._growing)

    async def grew(self, disk: DiskSpec) -> None:
        """That was done."""
        await self._in_thread(disk, self._grew)

    async def seen(self, disk: DiskSpec) -> ReplicaSeen:
        """What is there of it."""
        return await self._in_thread(disk, self._seen)

    def content(self, disk: DiskSpec) -> str:
        """The word for its content; "" where there is none."""
        found, _ = self._found(disk)
        return found.content if found else ""

    # Each in a thread

    def _unwritten(self, disk: DiskSpec) -> bool:
        found, why = self._found(disk)
        whole = found is not None and found.size == disk.size and not found.before
        return whole and found is not None and not why and not found.written

    def _reserve(self, disk: DiskSpec, size: int) -> None:
        found, path = self._fit(disk), Path(self.real_path(disk))
        with replica_growth.touched(self._record(disk), found, path):
            if size > found.size:
                replica_growth.reserve(disk, path, size)
            elif not found.before:
                replica_growth.unreserve(path)

    def _grown(self, disk: DiskSpec) -> None:
        found = self._fit(disk)
        replica_growth.grow(disk, self._record(disk), found, Path(self.real_path(disk)))

    def _growing(self, disk: DiskSpec) -> None:
        found = self._fit(disk)
        if found.size < disk.size:
            replica_growth.reserve(disk, Path(self.real_path(disk)), disk.size)
            replica_growth.begun(self._record(disk), found, disk.size)

    def _grew(self, disk: DiskSpec) -> None:
        found, path = self._fit(disk), Path(self.real_path(disk))
        if found.before:
            _allocated(path, path.stat().st_size // MIB)
            replica_growth.ended(self._record(disk), found, path)

    def _fit(self, disk: DiskSpec) -> ReplicaRecord:
        """Its record, where it is this disk's, of whatever size; else Rejected."""
        found, why = self._found(msgspec.structs.replace(disk, size=sys.maxsize))
        if why or found is None:
            raise _unfit(disk, why)
        return found

    def _caught_up(self, disk: DiskSpec) -> tuple[ReplicaRecord | None, str]:
        """Its record, and why it must not be used; one that missed a growth grows."""
        found, why = self._found(disk)
        if found is not None and not why:
            found = replica_growth.grow(disk, self._record(disk), found, Path(self.real_path(disk)))
        return found, why

    def _admit_here(self, disk: DiskSpec) -> ReplicaRecord:
        found, why = self._caught_up(disk)
        if not why and found is not None and found.state is not ReplicaState.IN_SYNC:
            why = f"it is {found.state}, and not in sync"
        if not why and found is not None and not found.clean:
            # A mirror that takes it for the same as another one would take the wrong one.
            same = [target.name for target in disk.targets if not target.full]
            if same:
                why = f"it was not closed in order, so that {', '.join(same)} may differ from it"
        if why or found is None:
            raise _unfit(disk, why)
        return found

    def _open_here(self, disk: DiskSpec) -> None:
        found = self._admit_here(disk)
        opened = msgspec.structs.replace(
            found, clean=False, written=True, content=secrets.token_hex(8), bitmaps=""
        )
        replica_record.write(self._record(disk), opened)

    def _kept(self, disk: DiskSpec) -> bool:
        found, why = self._found(disk)
        if why or found is None or not found.clean or not found.bitmaps:
            return False
        return kept_bitmaps.digest(self.bitmaps(disk)) == found.bitmaps

    def _closed(self, disk: DiskSpec, *, counted: bool) -> None:
        found, _ = self._found(disk)
        if found is None or found.disk != disk.uuid or found.clean:
            return
        path = Path(self.real_path(disk))
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.fsync(handle)
            mtime, size = os.fstat(handle).st_mtime_ns, os.fstat(handle).st_size
        finally:
            os.close(handle)
        bitmaps = kept_bitmaps.keep(self.bitmaps(disk)) if counted else ""
        if not bitmaps:
            kept_bitmaps.drop(self.bitmaps(disk))
        closed = msgspec.structs.replace(
            found, clean=True, mtime_ns=mtime, size=size // MIB, before=0, bitmaps=bitmaps
        )
        replica_record.write(self._record(disk), closed)

    def _serve(self, disk: DiskSpec, overwrite: bool) -> str:
        found, why = self._caught_up(disk)
        fits = found is not None and not why
        if not fits and not overwrite:
            raise _unfit(disk, why)
        path = Path(self.real_path(disk))
        if not fits or found is None or _sparse(path, disk.size):
            _allocated(path, disk.size)
        opened = ReplicaRecord(
            disk=disk.uuid,
            generation=disk.generation,
            state=ReplicaState.SYNCING if overwrite or found is None else found.state,
            size=disk.size,
            clean=False,
            written=True,
            content=found.content if fits and found else secrets.token_hex(8),
        )
        replica_record.write(self._record(disk), opened)
        return opened.content

    def _mark(self, disk: DiskSpec, generation: int, state: ReplicaState, force: bool) -> None:
        try:
            found = replica_record.read(self._record(disk))
        except msgspec.MsgspecError:
            found = None
        path = Path(self.real_path(disk))
        wanted = (disk.uuid, disk.generation, state)
        if found and not force and (found.disk, found.generation, found.state) == wanted:
            return
        known = (disk.uuid, generation)
        fits = found is not None and not force and (found.disk, found.generation) == known
        if not path.is_file() or not (fits or force):
            _, why = self._found(msgspec.structs.replace(disk, generation=generation))
            raise _unfit(disk, why)
        if fits and found is not None:
            same = disk.generation == found.generation
            marked = msgspec.structs.replace(
                found,
                generation=disk.generation,
                state=state,
                content=found.content if same else secrets.token_hex(8),
                bitmaps="",
            )
        else:
            status = path.stat()
            marked = ReplicaRecord(
                disk=disk.uuid,
                generation=disk.generation,
                state=state,
                size=disk.size,
                mtime_ns=status.st_mtime_ns,
                written=True,
                content=secrets.token_hex(8),
            )
        replica_record.write(self._record(disk), marked)

    def _seen(self, disk: DiskSpec) -> ReplicaSeen:
        found, why = self._found(disk)
        there = Path(self.real_path(disk)).is_file()
        if found is None or found.disk != disk.uuid:
            return ReplicaSeen(disk=disk.uuid, there=there, problem=why if there else "")
        return ReplicaSeen(
            disk=disk.uuid,
            there=there,
            generation=found.generation,
            state=found.state,
            clean=found.clean,
            problem=why if there else "",
        )

    def _forgotten(self, disk: DiskSpec) -> None:
        """A record without a file."""
        self._record(disk).unlink(missing_ok=True)

    def _found(self, disk: DiskSpec) -> tuple[ReplicaRecord | None, str]:
        """Its record, and why it must not be used."""
        path = Path(self.real_path(disk))
        try:
            status = path.stat(follow_symlinks=False)
        except FileNotFoundError:
            status = None
        try:
            found = replica_record.read(self._record(disk))
        except msgspec.MsgspecError as error:
            return None, f"its record is damaged: {error}"
        why = replica_record.problem(found, disk.uuid, disk.generation, disk.size, status)
        return found, why

    def _record(self, disk: DiskSpec) -> Path:
        return beside(Path(self.real_path(disk)), replica_record.NAME)

    async def _in_thread(self, disk: DiskSpec, work: Callable[[DiskSpec], _T]) -> _T:
        with _told(disk):
            return await asyncio.to_thread(work, disk)


@contextmanager
def _told(disk: DiskSpec) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OperationFailed(
            f"the replica {disk.path} of disk {disk.index}: {error.strerror or error}",
            "see whether its file system is well and not full",
            reason=Reason.ENVIRONMENT,
        ) from error


def _unfit(disk: DiskSpec, why: str) -> Rejected:
    return Rejected(
        f"the replica {disk.path} of disk {disk.index} cannot be used: {why}",
        _LOOK,
        reason=Reason.STATE,
    )


def _allocate(path: Path, size: int) -> os.stat_result:
    """A new file of ``size`` MiB with all its blocks, full of zeros."""
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    handle = os.open(path, flags, 0o600)
    try:
        os.posix_fallocate(handle, 0, size * MIB)
        os.fsync(handle)
        return os.fstat(handle)
    finally:
        os.close(handle)


def _sparse(path: Path, size: int) -> bool:
    """Whether blocks are missing: an installation, a file that became mirrored, a discard."""
    return path.stat().st_blocks * 512 < size * MIB


def _allocated(path: Path, size: int) -> None:
    """A file that is there already gets that size and all its blocks."""
    handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.ftruncate(handle, size * MIB)
        os.posix_fallocate(handle, 0, size * MIB)
        os.fsync(handle)
    finally:
        os.close(handle)
