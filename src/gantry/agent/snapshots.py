"""Snapshots of running guests' disks: where the old content goes, and how it is read."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from gantry.agent.effect import Task
from gantry.agent.parts import Parts
from gantry.host import command
from gantry.model import timeouts
from gantry.model.asking import Nothing
from gantry.model.backup_orders import SnapshotClose, SnapshotOpen
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec
from gantry.storage.file import beside

OVERLAY = "snapshot"
"""What a disk's overlay is called, beside it."""
COPY = "raw"


async def begin(parts: Parts, order: SnapshotOpen, task: Task) -> Nothing:
    """Keep it."""
    driver = parts.hypervisor(order.hypervisor)
    overlays = _overlays(parts, order.disks)
    await driver.open_snapshot(order.guest, overlays, say=task.say, mark=order.mark)
    return Nothing()


async def end(parts: Parts, order: SnapshotClose, task: Task) -> Nothing:
    """Keep it no longer."""
    driver = parts.hypervisor(order.hypervisor)
    overlays = _overlays(parts, order.disks)
    await driver.close_snapshot(order.guest, overlays, check=order.check)
    if order.drop is not None:
        await driver.drop_marks(order.guest, [order.drop])
    return Nothing()


def directory(parts: Parts, guest: Uuid | None) -> Path | None:
    """Where a guest's snapshot is served; None where the disks' files are to be read."""
    return None if guest is None else parts.hypervisor_of(guest).snapshot(guest)


@asynccontextmanager
async def copied(parts: Parts, disk: DiskSpec, served: int) -> AsyncIterator[str]:
    """The path of a raw, sparse copy of a disk's snapshot; ``served`` is its open directory."""
    path = beside(Path(parts.storage(disk).real_path(disk)), COPY)
    argv = ["qemu-img", "convert", "-q", "--image-opts", "-O", "raw"]
    try:
        # qemu-img inherits no descriptor here: it goes by the one that we have.
        own = Path(f"/proc/{os.getpid()}/fd/{served}")
        await command.run([*argv, image(disk, own), str(path)], timeout=timeouts.SLOW)
        path.chmod(0o600)
        yield str(path)
    finally:
        path.unlink(missing_ok=True)


def image(disk: DiskSpec, served: Path) -> str:
    """Image options of a disk's snapshot; ``served`` is a short path of its directory."""
    where = str(served).replace(",", ",,")
    return (
        f"driver=raw,read-only=on,file.driver=nbd,file.server.type=unix,"
        f"file.server.path={where}/snapshot,file.export=disk{disk.index}"
    )


def _overlays(parts: Parts, disks: Sequence[DiskSpec]) -> dict[int, str]:
    return {
        disk.index: str(beside(Path(parts.storage(disk).real_path(disk)), OVERLAY))
        for disk in disks
    }
