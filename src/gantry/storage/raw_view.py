"""A disk as a plain raw file, which is what scripts of OS definitions can work with.

A qcow2 disk is converted to a sparse raw file and back by qemu-img: it needs no rights, no
kernel module and no FUSE, and the disk is replaced only once the scripts have succeeded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gantry.host import command
from gantry.model import timeouts
from gantry.model.entities import DiskFormat
from gantry.model.orders import DiskSpec
from gantry.storage.contract import Storage
from gantry.storage.file import beside


@asynccontextmanager
async def raw_view(storage: Storage, disk: DiskSpec) -> AsyncIterator[str]:
    """The path of the disk's content in raw form; what is written there is kept.

    Where the block fails or is cancelled, a qcow2 disk stays as it was. OperationFailed where
    qemu-img fails, with its words.
    """
    path = Path(storage.real_path(disk))
    if disk.format is DiskFormat.RAW:
        yield str(path)
        return
    raw, changed = beside(path, "raw"), beside(path, "new")
    try:
        await _convert(path, disk.format.value, raw, "raw")
        yield str(raw)
        await _convert(raw, "raw", changed, disk.format.value)
        changed.chmod(0o600)
        changed.replace(path)
    finally:
        raw.unlink(missing_ok=True)
        changed.unlink(missing_ok=True)


@asynccontextmanager
async def raw_copy(storage: Storage, disk: DiskSpec) -> AsyncIterator[str]:
    """The path of the disk's content in raw form, only to be read: what is written is lost."""
    path = Path(storage.real_path(disk))
    if disk.format is DiskFormat.RAW:
        yield str(path)
        return
    raw = beside(path, "raw")
    try:
        await _convert(path, disk.format.value, raw, "raw")
        yield str(raw)
    finally:
        raw.unlink(missing_ok=True)


async def _convert(source: Path, source_format: str, target: Path, target_format: str) -> None:
    argv = ["qemu-img", "convert", "-q", "-f", source_format, "-O", target_format]
    await command.run([*argv, str(source), str(target)], timeout=timeouts.SLOW)
