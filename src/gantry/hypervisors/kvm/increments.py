"""What changed in a running guest's disks since an earlier moment, for an incremental export.

QEMU counts changes in dirty bitmaps, which have the name of that moment (a mark). One
transaction begins bitmaps for this moment and backup jobs by the old ones: before the guest writes
over a changed block that was not copied yet, the job copies it. Nodes, jobs and bitmaps
have names of their own, so that a later agent can take them away as well.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from gantry.hypervisors.contract import Say
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.model import timeouts
from gantry.model.errors import OperationFailed, Reason

_PREFIX: Final = "gantry-"
_NAME: Final = "changes"
_MIB: Final = 1024 * 1024
_FIRST_LOOK: Final = 0.02
_SLOWEST_LOOK: Final = 0.5

Marks = dict[str, tuple[int, ...]]


async def marks(monitor: Monitor) -> Marks:
    """Those that count on, with the indexes of their disks."""
    found: dict[str, list[int]] = {}
    for index, bitmap in await _bitmaps(monitor):
        if bitmap["recording"] and not bitmap.get("inconsistent"):
            found.setdefault(str(bitmap["name"]).removeprefix(_PREFIX), []).append(index)
    return {mark: tuple(sorted(indexes)) for mark, indexes in found.items()}


def begin_counting(index: int, mark: str) -> dict[str, Any]:
    """The action of a transaction that begins a mark."""
    data = {"node": f"disk{index}", "name": _PREFIX + mark}
    return {"type": "block-dirty-bitmap-add", "data": data}


async def drop(monitor: Monitor, gone: Collection[str]) -> None:
    """Drop these marks, as far as they are there."""
    for index, bitmap in await _bitmaps(monitor):
        name = str(bitmap["name"])
        if name.removeprefix(_PREFIX) in gone:
            await monitor.execute("block-dirty-bitmap-remove", node=f"disk{index}", name=name)


async def drop_all_but(monitor: Monitor, kept: str) -> None:
    """What jobs that are no more may have left."""
    await drop(monitor, set(await marks(monitor)) - {kept})


async def copy(
    monitor: Monitor,
    files: Mapping[int, str],
    since: str,
    mark: str,
    say: Say,
    moment: AbstractAsyncContextManager[None],
) -> None:
    """Copy changed blocks into ``files``; the transaction is done within ``moment``."""
    await end(monitor)
    known = (await marks(monitor)).get(since, ())
    if not set(files) <= set(known):
        raise OperationFailed(
            "QEMU does not know any more what has changed since the last export",
            "export it again: the next one is a full one",
            reason=Reason.STATE,
        )
    await drop_all_but(monitor, since)
    try:
        for index, path in files.items():
            await _target(monitor, index, path)
        actions = [begin_counting(index, mark) for index in files]
        actions += [_backup(index, since) for index in files]
        async with moment:
            await monitor.execute("transaction", timeouts.URGENT, actions=actions)
        await _finished(monitor, say)
        await end(monitor)
    except BaseException:
        await end(monitor)
        await drop(monitor, [mark])
        raise


async def end(monitor: Monitor) -> None:
    """No job and no node of it stays."""
    for job in await _jobs(monitor):
        if job["status"] != "concluded":
            await monitor.execute("job-cancel", id=job["id"])
    await _until_concluded(monitor, lambda _jobs: None)
    for job in await _jobs(monitor):
        await monitor.execute("job-dismiss", id=job["id"])
    nodes = await monitor.execute("query-named-block-nodes", flat=True)
    for node in sorted(str(one["node-name"]) for one in nodes):
        if node.startswith(_NAME) and "-" not in node:
            await monitor.execute("blockdev-del", timeouts.URGENT, **{"node-name": node})


async def _target(monitor: Monitor, index: int, path: str) -> None:
    arguments: dict[str, Any] = {
        "driver": "qcow2",
        "node-name": f"{_NAME}{index}",
        "file": {"driver": "file", "filename": path, "node-name": f"{_NAME}{index}-file"},
        # What it rests on is on another node.
        "backing": None,
    }
    await monitor.execute("blockdev-add", timeouts.URGENT, **arguments)


def _backup(index: int, since: str) -> dict[str, Any]:
    return {
        "type": "blockdev-backup",
        "data": {
            "job-id": f"{_NAME}{index}",
            "device": f"disk{index}",
            "target": f"{_NAME}{index}",
            "sync": "bitmap",
            "bitmap": _PREFIX + since,
            # The old mark counts on: where this export fails, the next one begins with it.
            "bitmap-mode": "never",
            "auto-dismiss": False,
        },
    }


async def _finished(monitor: Monitor, say: Say) -> None:
    last = time.monotonic()

    def progress(jobs: list[dict[str, Any]]) -> None:
        nonlocal last
        if time.monotonic() - last >= timeouts.TRANSFER_REPORT:
            last = time.monotonic()
            done, total = (
                sum(int(job[what]) for job in jobs)
                for what in ("current-progress", "total-progress")
            )
            say(f"{done // _MIB} of {total // _MIB} MiB that changed are copied")

    await _until_concluded(monitor, progress)
    for job in await _jobs(monitor):
        if job.get("error"):
            raise OperationFailed(
                f"the changed blocks could not be copied: {job['error']}",
                "make room beside the guest's disks, and export it again",
                reason=Reason.ENVIRONMENT,
            )


async def _until_concluded(
    monitor: Monitor, progress: Callable[[list[dict[str, Any]]], None]
) -> None:
    """QEMU's jobs end by themselves; they are looked at less often the longer it takes."""
    pause = _FIRST_LOOK
    jobs = await _jobs(monitor)
    while any(job["status"] != "concluded" for job in jobs):
        progress(jobs)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _SLOWEST_LOOK)
        jobs = await _jobs(monitor)


async def _jobs(monitor: Monitor) -> list[dict[str, Any]]:
    found = await monitor.execute("query-jobs")
    return [job for job in found if str(job["id"]).startswith(_NAME)]


async def _bitmaps(monitor: Monitor) -> list[tuple[int, dict[str, Any]]]:
    nodes = await monitor.execute("query-named-block-nodes", flat=True)
    return [
        (int(node["node-name"].removeprefix("disk")), bitmap)
        for node in nodes
        if str(node["node-name"]).removeprefix("disk").isdigit()
        for bitmap in node.get("dirty-bitmaps", ())
        if str(bitmap.get("name", "")).startswith(_PREFIX)
    ]
