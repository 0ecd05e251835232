"""A running guest's disks as they were at one moment, for an export; QEMU does it.

Each disk gets an overlay file, and one transaction starts a backup job for all: before the
guest writes over something, the job copies the old content into the overlay. What is read from
the overlay's node is therefore what the disk was; what was not written over comes from the disk
itself. The guest waits only for these copies. All nodes and jobs have names of their own, so
that a later agent can take them away as well.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

from gantry.host import command
from gantry.hypervisors.kvm import increments
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.model import timeouts
from gantry.model.errors import OperationFailed

SOCKET: Final = "snapshot"
_MIB: Final = 1024 * 1024
_MOMENT: Final = 0.02
_MOMENTS: Final = 1000


async def begin(
    monitor: Monitor,
    directory: Path,
    overlays: Mapping[int, tuple[str, int]],
    moment: AbstractAsyncContextManager[None],
    mark: str | None = None,
) -> None:
    """From now on the disks' content of this moment can be read from ``directory/SOCKET``.

    ``overlays``: by index of the disk a path for its overlay, and the disk's size in MiB. The
    exports are called ``disk<index>``. The transaction is done within ``moment``, and begins
    ``mark`` where there is one. OperationFailed where QEMU refuses; nothing stays then.
    """
    await end(monitor, directory, [path for path, _ in overlays.values()])
    try:
        for index, (path, size) in overlays.items():
            await _overlay(monitor, index, path, size)
        if mark is not None:
            await increments.drop_all_but(monitor, "")
        actions = [increments.begin_counting(index, mark) for index in overlays if mark is not None]
        actions += [
            {
                "type": "blockdev-backup",
                "data": {
                    "job-id": _job(index),
                    "device": f"disk{index}",
                    "target": _node(index),
                    "sync": "none",
                },
            }
            for index in overlays
        ]
        async with moment:
            await monitor.execute("transaction", timeouts.URGENT, actions=actions)
        await _serve(monitor, directory, list(overlays))
    except BaseException:
        await end(monitor, directory, [path for path, _ in overlays.values()])
        if mark is not None:
            await increments.drop(monitor, [mark])
        raise


async def intact(monitor: Monitor, indexes: Collection[int]) -> bool:
    """Whether what was read is what was meant: every job still keeps the old content.

    One that could not write into its overlay has ended, and the guest goes on without it.
    """
    running = {str(one["id"]) for one in await monitor.execute("query-jobs")}
    return {_job(index) for index in indexes} <= running


async def end(monitor: Monitor, directory: Path, overlays: Sequence[str]) -> None:
    """Nothing of it stays; what is not there is gone already."""
    nodes = {
        str(one["node-name"]) for one in await monitor.execute("query-named-block-nodes", flat=True)
    }
    exports = await monitor.execute("query-block-exports")
    if any(str(one["id"]).startswith("snapshot") for one in exports):
        await monitor.execute("nbd-server-stop")
    for job in await monitor.execute("query-jobs"):
        if str(job["id"]).startswith("snapshot"):
            await _cancelled(monitor, str(job["id"]))
    for node in sorted(nodes):
        if node.startswith("snapshot") and "-" not in node:
            await monitor.execute("blockdev-del", timeouts.URGENT, **{"node-name": node})
    (directory / SOCKET).unlink(missing_ok=True)
    for path in overlays:
        Path(path).unlink(missing_ok=True)


async def _overlay(monitor: Monitor, index: int, path: str, size: int) -> None:
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", path, str(size * _MIB)]
    await command.run(argv, timeout=timeouts.FAST)
    Path(path).chmod(0o600)
    arguments: dict[str, Any] = {
        "driver": "qcow2",
        "node-name": _node(index),
        "file": {"driver": "file", "filename": path, "node-name": f"{_node(index)}-file"},
        "backing": f"disk{index}",
    }
    await monitor.execute("blockdev-add", timeouts.URGENT, **arguments)


async def _serve(monitor: Monitor, directory: Path, indexes: list[int]) -> None:
    opened = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # A socket's path is short: QEMU goes through a directory that we have open.
        path = f"/proc/{os.getpid()}/fd/{opened}/{SOCKET}"
        address = {"type": "unix", "data": {"path": path}}
        await monitor.execute("nbd-server-start", addr=address)
    finally:
        os.close(opened)
    for index in indexes:
        arguments: dict[str, Any] = {
            "type": "nbd",
            "id": f"snapshot{index}",
            "node-name": _node(index),
            "name": f"disk{index}",
        }
        await monitor.execute("block-export-add", **arguments)


async def _cancelled(monitor: Monitor, job: str) -> None:
    """Cancel a backup job and wait until it is gone."""
    try:
        await monitor.execute("block-job-cancel", device=job, force=True)
    except OperationFailed:
        if not await _there(monitor, job):
            return
        raise
    # It ends at once, but not within the command.
    for _ in range(_MOMENTS):
        if not await _there(monitor, job):
            return
        await asyncio.sleep(_MOMENT)
    raise OperationFailed(f"the job {job} in QEMU cannot be ended")


async def _there(monitor: Monitor, job: str) -> bool:
    return any(one["id"] == job for one in await monitor.execute("query-jobs"))


def _node(index: int) -> str:
    return f"snapshot{index}"


def _job(index: int) -> str:
    return f"snapshot{index}"
