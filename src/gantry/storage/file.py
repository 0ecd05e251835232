"""Disks that are files on the node's own file system (template ``file``).

Raw disks are sparse; whether they fit is asked of the file system first. A disk has its name
only once it is complete.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Final

from gantry.host import command, leftovers, machine
from gantry.model import timeouts
from gantry.model.entities import DiskFormat
from gantry.model.errors import OperationFailed, Reason, Rejected
from gantry.model.orders import DiskSpec
from gantry.storage import growing, places

MIB: Final = 1024 * 1024
_HALF: Final = re.compile(r"\..+\.disk\d+\.(raw|new)")
"""Files beside disks that only an agent at work needs, whole copies at times."""
_UNTOUCHED_QCOW2: Final = 256 * 1024
"""Bytes on disk of a new qcow2 file, at most; the first write of a guest takes it beyond."""


class FileStorage:
    """Disks as files below ``directories``, which hang below ``root``."""

    aside: ClassVar[tuple[str, ...]] = (
        *("new", "raw", "snapshot", "changes"),
        *("replica", "replica.new", "bitmaps"),
    )
    """What may lie beside a disk, left by something that was interrupted, or by the time when the
    disk was mirrored."""

    def __init__(self, root: Path, directories: Iterable[str]) -> None:
        self._root = root
        self._directories = tuple(directories)

    async def create(self, disk: DiskSpec) -> None:
        """An empty disk of that size; one that is there, empty, is taken as it is."""
        path = self._place(disk)
        if disk.size < 1:
            raise Rejected(f"disk {disk.index} cannot have {disk.size} MiB")
        await asyncio.to_thread(self._ready, disk, path)
        if path.exists():
            await asyncio.to_thread(self.same, disk, path)
            return
        unfinished = beside(path, "new")
        try:
            await self.make(disk, unfinished)
            unfinished.replace(path)
        except BaseException as error:
            unfinished.unlink(missing_ok=True)
            self._remove_empty(path.parent)
            if isinstance(error, OSError):
                raise _failed(disk, path, error) from error
            raise

    async def remove(self, disk: DiskSpec) -> None:
        """The disk is gone afterwards, and its directory if it was the last one in it."""
        path = self._place(disk)
        await asyncio.to_thread(self._remove, disk, path)

    async def move(self, disk: DiskSpec, path: str) -> None:
        """The disk is at ``path`` afterwards; nothing to do where it is there already."""
        source = self._place(disk)
        target = places.place(self._root, self._directories, path)
        await asyncio.to_thread(self._move, disk, source, target)

    async def untouched(self, disk: DiskSpec) -> bool:
        """Whether it is there, and is an empty disk of that size."""
        path = self._place(disk)
        return await asyncio.to_thread(lambda: path.is_file() and _is_empty(disk, path))

    async def exists(self, disk: DiskSpec) -> bool:
        """Whether it is there."""
        return await asyncio.to_thread(self._place(disk).is_file)

    def tidy(self) -> list[Path]:
        """Delete what an agent that was killed left half done beside disks; what it was.

        What is still attached or mounted stays. To be called before anything is begun.
        """
        gone = []
        for base in (places.below(self._root, each) for each in self._directories):
            for path in base.rglob(".*"):
                half = _HALF.fullmatch(path.name) and path.is_file() and not path.is_symlink()
                if half and not leftovers.attached([str(path)]):
                    path.unlink(missing_ok=True)
                    gone.append(path)
        return gone

    def real_path(self, disk: DiskSpec) -> str:
        """Its path on this machine, root included."""
        return str(self._place(disk))

    def prepare(self, directory: Path) -> None:
        """The storage directory itself, before a disk is made in it; made where missing."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)

    async def make(self, disk: DiskSpec, path: Path) -> None:
        """An empty disk at ``path``, which is not its name yet."""
        await _make(disk, path)

    def same(self, disk: DiskSpec, path: Path) -> None:
        """Nothing where ``path`` is what creating the disk would give; else Rejected."""
        _same(disk, path)

    def _place(self, disk: DiskSpec) -> Path:
        return places.place(self._root, self._directories, disk.path)

    def _ready(self, disk: DiskSpec, path: Path) -> None:
        try:
            self.prepare(self._base(path))
            free = machine.space(path.parent).free
            if not path.exists() and free < disk.size:
                raise OperationFailed(
                    f"disk {disk.index} does not fit: {disk.path} needs {disk.size} MiB,"
                    f" and {free} MiB are free",
                    "give it less, or make room on that file system",
                    reason=Reason.NO_RESOURCES,
                )
            path.parent.mkdir(exist_ok=True, parents=True, mode=0o750)
        except OSError as error:
            raise _failed(disk, path, error) from error

    def _base(self, path: Path) -> Path:
        bases = (places.below(self._root, each) for each in self._directories)
        return max(
            (base for base in bases if path.is_relative_to(base)), key=lambda b: len(b.parts)
        )

    def _move(self, disk: DiskSpec, source: Path, target: Path) -> None:
        if source == target or (target.exists() and not source.exists()):
            return
        if target.exists():
            raise Rejected(
                f"disk {disk.index} cannot be moved: {target} exists already",
                "it may belong to an instance that is gone: look, and move it away",
                reason=Reason.EXISTS,
            )
        try:
            target.parent.mkdir(exist_ok=True, parents=True, mode=0o750)
            source.rename(target)
            # What an interrupted script has left is of no use, and would stay for ever.
            for each in self.aside:
                beside(source, each).unlink(missing_ok=True)
            self._remove_empty(source.parent)
        except OSError as error:
            self._remove_empty(target.parent)
            raise OperationFailed(
                f"disk {disk.index} ({source}) cannot be moved to {target}: {error.strerror}",
                "see whether it is there, and on the same file system as its new directory",
                reason=Reason.ENVIRONMENT,
            ) from error

    def _remove(self, disk: DiskSpec, path: Path) -> None:
        try:
            for each in (path, *(beside(path, one) for one in self.aside)):
                each.unlink(missing_ok=True)
            self._remove_empty(path.parent)
        except OSError as error:
            raise OperationFailed(
                f"disk {disk.index} ({disk.path}) cannot be removed: {error.strerror}"
            ) from error

    def _remove_empty(self, directory: Path) -> None:
        bases = {places.below(self._root, each) for each in self._directories}
        if directory not in bases and directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()


def beside(path: Path, what: str) -> Path:
    """A hidden file beside a disk, for what is not the disk yet."""
    return path.with_name(f".{path.name}.{what}")


async def _make(disk: DiskSpec, path: Path) -> None:
    path.unlink(missing_ok=True)
    if disk.format is DiskFormat.RAW:
        await asyncio.to_thread(_make_raw, path, disk.size)
    else:
        argv = ["qemu-img", "create", "-q", "-f", disk.format.value, str(path), f"{disk.size}M"]
        await command.run(argv, timeout=timeouts.FAST)
        path.chmod(0o600)


def _make_raw(path: Path, size: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    handle = os.open(path, flags, 0o600)
    try:
        os.truncate(handle, size * MIB)
        os.fsync(handle)
    finally:
        os.close(handle)


def _same(disk: DiskSpec, path: Path) -> None:
    """Nothing where ``path`` is what creating the disk would give; else Rejected."""
    if not _is_empty(disk, path):
        raise Rejected(
            f"{disk.path} exists already, and it is not an empty disk of {disk.size} MiB",
            "it may belong to an instance that is gone: look, and move it away",
            reason=Reason.EXISTS,
        )


def _is_empty(disk: DiskSpec, path: Path) -> bool:
    found = path.stat()
    allocated = found.st_blocks * 512
    if disk.format is DiskFormat.RAW:
        return found.st_size == disk.size * MIB and allocated == 0
    return allocated <= _UNTOUCHED_QCOW2 and growing.qcow2_size(path) == disk.size * MIB


def _failed(disk: DiskSpec, path: Path, error: OSError) -> OperationFailed:
    free = machine.space(path.parent).free
    return OperationFailed(
        f"disk {disk.index} ({disk.path}, {disk.size} MiB) cannot be made:"
        f" {error.strerror or error}; {free} MiB are free",
        "see whether the directory can be written and its file system is not full",
        reason=Reason.ENVIRONMENT,
    )
