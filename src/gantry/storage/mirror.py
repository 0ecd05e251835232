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
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

import msgspec

from gantry.model.entities import DiskFormat, DiskTemplate, ReplicaState
from gantry.model.errors import Reason, Rejected
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec
from gantry.model.replica_orders import ReplicaSeen
from gantry.storage import kept_bitmaps, replica_growth, replica_record
from gantry.storage.file import MIB, FileStorage, beside
from gantry.storage.replica_files import allocate, allocated, sparse, told, unfit
from gantry.storage.replica_record import ReplicaRecord

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
        made = await asyncio.to_thread(allocate, path, disk.size)
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

        with told(disk):
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

    async def expect(self, disk: DiskSpec) -> str:
        """It may be of the disk's generation from now on, and is of the one before.

        The word for what is on it then. Rejected where it must not be used.
        """
        return await self._in_thread(disk, self._expect)

    async def forgo(self, disk: DiskSpec) -> None:
        """It is of the generation that it was; nothing where it has become another one."""
        await self._in_thread(disk, self._forgo)

    async def inherit(self, disks: Sequence[DiskSpec]) -> Callable[[], Awaitable[None]]:
        """What another node wrote here is written by this one from now on.

        It takes the disk's generation, and is the same as all others that are in sync. Gives
        back what says that nothing was written after all. Rejected where it must not be used.
        """
        mirrored = [disk for disk in disks if disk.template is DiskTemplate.MIRROR]
        for disk in mirrored:
            await self._in_thread(disk, self._inherit)

        async def undo() -> None:
            await self.closed(mirrored)

        return undo

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
            allocated(path, path.stat().st_size // MIB)
            replica_growth.ended(self._record(disk), found, path)

    def _fit(self, disk: DiskSpec) -> ReplicaRecord:
        """Its record, where it is this disk's, of whatever size; else Rejected."""
        found, why = self._found(msgspec.structs.replace(disk, size=sys.maxsize))
        if why or found is None:
            raise unfit(disk, why)
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
            raise unfit(disk, why)
        return found

    def _open_here(self, disk: DiskSpec) -> None:
        found = self._admit_here(disk)
        replica_record.write(self._record(disk), replica_record.opened(found, disk.generation))

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

    def _before(self, disk: DiskSpec) -> ReplicaRecord:
        """Its record, which is of the generation before the disk's, or fits both; or Rejected."""
        earlier = msgspec.structs.replace(disk, generation=disk.generation - 1)
        found, why = self._found(earlier)
        if found is not None and not why and found.state is not ReplicaState.IN_SYNC:
            why = f"it is {found.state}, and not in sync"
        if why or found is None:
            raise unfit(disk, why)
        return found

    def _expect(self, disk: DiskSpec) -> str:
        record = self._record(disk)
        return replica_record.expect(record, self._before(disk), disk.generation)

    def _forgo(self, disk: DiskSpec) -> None:
        found, _ = self._found(msgspec.structs.replace(disk, generation=disk.generation - 1))
        if found is not None and found.disk == disk.uuid and found.following is not None:
            replica_record.write(self._record(disk), msgspec.structs.replace(found, following=None))

    def _inherit(self, disk: DiskSpec) -> None:
        found, why = self._found(disk)
        if why or found is None:
            found = self._before(disk)
        replica_record.write(self._record(disk), replica_record.opened(found, disk.generation))

    def _serve(self, disk: DiskSpec, overwrite: bool) -> str:
        found, why = self._caught_up(disk)
        fits = found is not None and not why
        if not fits and not overwrite:
            raise unfit(disk, why)
        path = Path(self.real_path(disk))
        if not fits or found is None or sparse(path, disk.size):
            allocated(path, disk.size)
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
            raise unfit(disk, why)
        if fits and found is not None:
            same = disk.generation == found.generation
            marked = msgspec.structs.replace(
                found,
                generation=disk.generation,
                state=state,
                content=found.content if same else secrets.token_hex(8),
                bitmaps="",
                following=found.following if same else None,
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
        found = found.of(disk.generation) if found is not None else None
        why = replica_record.problem(found, disk.uuid, disk.generation, disk.size, status)
        return found, why

    def _record(self, disk: DiskSpec) -> Path:
        return beside(Path(self.real_path(disk)), replica_record.NAME)

    async def _in_thread(self, disk: DiskSpec, work: Callable[[DiskSpec], _T]) -> _T:
        with told(disk):
            return await asyncio.to_thread(work, disk)
