"""What QEMU counted of a disk (``resync``) outlives an orderly end, in a file beside the disk.

The file is an empty qcow2 image of the disk's size with persistent bitmaps: ``since`` with what
both bitmaps of the disk held, and one for each replica that they speak of. It is made while the
guest stands still for good, before QEMU ends, and read before the guest runs again. Whether it
may be read is not decided here: the replica's record says so. Whoever fails here costs a longer
copy later, and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gantry.hypervisors.kvm import resync
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.model import timeouts
from gantry.model.entities import DiskTemplate
from gantry.model.errors import GantryError, OperationFailed
from gantry.model.live import MirrorLive, MirrorPhase
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec

_log = logging.getLogger(__name__)
_STILL: Final = frozenset(("shutdown", "paused", "prelaunch"))
"""QEMU's states in which no guest writes, and which nobody else ends."""
_MIB: Final = 1024 * 1024
_MOMENT: Final = 0.01


def worth(mirrors: Sequence[MirrorLive], status: str) -> bool:
    """Whether what is counted may be kept of a guest in that state of QEMU's. Pure.

    While a replica is lost and not let go of, QEMU may wait for it for ever: it is asked for
    nothing more than to end. A guest that another node has, or may have, keeps nothing here.
    """
    lost = any(one.phase is MirrorPhase.LOST and not one.released for one in mirrors)
    return not lost and (status == "running" or status in _STILL)


async def save(
    monitor: Monitor, name: str, disks: Mapping[Path, DiskSpec], mirrors: Sequence[MirrorLive]
) -> set[Uuid]:
    """Keep what is counted of a guest that is to end now, in files; the disks of which it is.

    The guest stands still afterwards. A file is whole only once QEMU has ended.
    """
    kept = set[Uuid]()
    try:
        async with asyncio.timeout(timeouts.BITMAPS_KEPT):
            status = str((await monitor.execute("query-status"))["status"])
            if not worth(mirrors, status):
                return kept
            for path, disk in disks.items():
                known = {
                    node: word
                    for node, word in (await resync.known(monitor, disk.index)).items()
                    if word
                }
                if not known:
                    continue
                if status == "running":
                    await monitor.execute("stop", timeouts.BITMAPS_KEPT)
                    status = "paused"
                await _save(monitor, path, disk, known)
                kept.add(disk.uuid)
    except (GantryError, OSError, TimeoutError) as error:
        _log.warning("what was written to disks of %s is not kept: %s", name, error)
    return kept


async def restore(
    monitor: Monitor, name: str, disks: Mapping[Path, DiskSpec], kept: Collection[Uuid]
) -> None:
    """Count on from what was kept of those disks; the guest does not run yet."""
    for path, disk in disks.items():
        if disk.uuid not in kept:
            continue
        try:
            await _restore(monitor, path, disk)
        except (GantryError, KeyError) as error:
            _log.warning("what was kept of disk %d of %s is of no use: %s", disk.index, name, error)


def mirrored(disks: Sequence[DiskSpec]) -> list[DiskSpec]:
    """Those that may have something to be kept. Pure."""
    return [disk for disk in disks if disk.template is DiskTemplate.MIRROR]


async def _save(monitor: Monitor, path: Path, disk: DiskSpec, known: Mapping[Uuid, str]) -> None:
    index = disk.index
    await asyncio.to_thread(_empty_file, path)
    await _file(monitor, index, path)
    options = {"driver": "qcow2", "file": f"keptfile{index}", "size": disk.size * _MIB}
    made: dict[str, Any] = {"job-id": f"keep{index}", "options": options}
    await monitor.execute("blockdev-create", **made)
    await _created(monitor, f"keep{index}")
    await _image(monitor, index)
    kept = f"kept{index}"
    await monitor.execute("block-dirty-bitmap-add", **_persistent(kept, resync.KEPT))
    merged: dict[str, Any] = {
        "node": kept,
        "target": resync.KEPT,
        "bitmaps": [{"node": f"disk{index}", "name": one} for one in resync.SINCE],
    }
    await monitor.execute("block-dirty-bitmap-merge", timeouts.URGENT, **merged)
    for node, word in known.items():
        coarse = {"granularity": resync.COARSE}
        marker = _persistent(kept, resync.known_name(node, word)) | coarse
        await monitor.execute("block-dirty-bitmap-add", **marker)
    # This writes them.
    await _forget(monitor, index)


async def _restore(monitor: Monitor, path: Path, disk: DiskSpec) -> None:
    index = disk.index
    await _file(monitor, index, path, read_only=True)
    try:
        await _image(monitor, index, read_only=True)
        found = await resync.bitmaps(monitor, f"kept{index}")
        if any(one.get("inconsistent") for one in found.values()) or resync.KEPT not in found:
            raise OperationFailed(f"{path} has not what it should have")
        await resync.count(monitor, index)
        merged: dict[str, Any] = {
            "node": f"disk{index}",
            "target": resync.SINCE[0],
            "bitmaps": [{"node": f"kept{index}", "name": resync.KEPT}],
        }
        await monitor.execute("block-dirty-bitmap-merge", timeouts.URGENT, **merged)
        # Only now: they say that the bitmaps hold everything.
        for node, word in resync.spoken_of(found).items():
            await resync.know(monitor, index, node, word)
    finally:
        await _forget(monitor, index)


def _persistent(node: str, name: str) -> dict[str, Any]:
    return {"node": node, "name": name, "persistent": True, "disabled": True}


async def _file(monitor: Monitor, index: int, path: Path, *, read_only: bool = False) -> None:
    node: dict[str, Any] = {
        "driver": "file",
        "node-name": f"keptfile{index}",
        "filename": str(path),
        "read-only": read_only,
    }
    await monitor.execute("blockdev-add", timeouts.URGENT, **node)


async def _image(monitor: Monitor, index: int, *, read_only: bool = False) -> None:
    node: dict[str, Any] = {
        "driver": "qcow2",
        "node-name": f"kept{index}",
        "file": f"keptfile{index}",
        "backing": None,
        "read-only": read_only,
    }
    await monitor.execute("blockdev-add", timeouts.URGENT, **node)


async def _forget(monitor: Monitor, index: int) -> None:
    """Close the file; what is not open is closed already."""
    nodes = {
        str(one["node-name"]) for one in await monitor.execute("query-named-block-nodes", flat=True)
    }
    for name in (f"kept{index}", f"keptfile{index}"):
        if name in nodes:
            await monitor.execute("blockdev-del", timeouts.URGENT, **{"node-name": name})


async def _created(monitor: Monitor, job: str) -> None:
    while True:
        for one in await monitor.execute("query-jobs"):
            if one["id"] == job and one["status"] == "concluded":
                await monitor.execute("job-dismiss", id=job)
                if one.get("error"):
                    raise OperationFailed(f"QEMU cannot make it: {one['error']}")
                return
        await asyncio.sleep(_MOMENT)


def _empty_file(path: Path) -> None:
    path.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    os.close(os.open(path, flags, 0o600))
