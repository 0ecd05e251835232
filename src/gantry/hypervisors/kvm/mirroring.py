"""A guest's local disks on their way to another node, beside its memory.

One mirror job a disk, to the other end's NBD export; once it is ready, every write of the guest
waits until both have it. The jobs end, without changing over, while the guest stands still.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from gantry.hypervisors.contract import Link
from gantry.hypervisors.kvm import secured
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.hypervisors.kvm.news import News
from gantry.hypervisors.kvm.running import Running
from gantry.model import timeouts
from gantry.model.errors import OperationFailed

_NAME: Final = "moving-disk"
_MIB: Final = 1024 * 1024

Jobs = dict[str, dict[str, Any]]


async def alone(monitor: Monitor, but: Collection[str]) -> bool:
    """Whether no other job works on the guest's disks than those."""
    found = [str(job["id"]) for job in await monitor.execute("query-jobs")]
    return all(job.startswith(_NAME) or job in but for job in found)


async def begin(
    monitor: Monitor,
    running: Running,
    link: Link,
    port: int,
    disks: Sequence[int],
    progress: Callable[[str], None],
) -> None:
    """Copy the disks; returns when every further write goes to both ends."""
    await end(monitor, running)
    for index in disks:
        server = {"type": "inet", "host": link.host, "port": str(port)}
        await monitor.execute(
            "blockdev-add",
            timeouts.URGENT,
            driver="nbd",
            server=server,
            export=f"disk{index}",
            **{
                "node-name": f"{_NAME}{index}",
                "tls-creds": secured.TLS,
                "tls-hostname": link.peer,
                "discard": "unmap",
                "detect-zeroes": "unmap",
            },
        )
        await monitor.execute(
            "blockdev-mirror",
            timeouts.URGENT,
            device=f"disk{index}",
            target=f"{_NAME}{index}",
            sync="full",
            **{"job-id": f"{_NAME}{index}", "copy-mode": "write-blocking"},
        )
    await _ready(monitor, running, disks, progress)


async def finish(monitor: Monitor, running: Running, disks: Sequence[int]) -> None:
    """End the jobs, both ends being equal; OperationFailed where one was not there any more."""
    jobs = await _jobs(monitor)
    broken = [index for index in disks if not jobs.get(f"{_NAME}{index}", {}).get("ready")]
    if broken:
        raise _broken(running, broken[0], "")
    for index in disks:
        await monitor.execute("block-job-cancel", device=f"{_NAME}{index}")
    await _gone(monitor, running)
    await _nodes_gone(monitor)


async def end(monitor: Monitor, running: Running) -> None:
    """Nothing of it stays; what is not there is gone already."""
    for name in await _jobs(monitor):
        try:
            await monitor.execute("block-job-cancel", device=name, force=True)
        except OperationFailed:
            if name in await _jobs(monitor):
                raise
    await _gone(monitor, running)
    await _nodes_gone(monitor)


async def _jobs(monitor: Monitor) -> Jobs:
    found = await monitor.execute("query-block-jobs")
    return {str(one["device"]): one for one in found if str(one["device"]).startswith(_NAME)}


async def _nodes_gone(monitor: Monitor) -> None:
    for node in await monitor.execute("query-named-block-nodes", flat=True):
        if str(node["node-name"]).startswith(_NAME):
            await monitor.execute(
                "blockdev-del", timeouts.URGENT, **{"node-name": node["node-name"]}
            )


async def _ready(
    monitor: Monitor,
    running: Running,
    disks: Sequence[int],
    progress: Callable[[str], None],
) -> None:
    failed = dict[str, str]()

    def told(event: str, data: Mapping[str, Any]) -> None:
        if event in ("BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED"):
            failed[str(data.get("device"))] = str(data.get("error", ""))

    said = time.monotonic()
    with News(running, told).listening() as news:
        while True:
            jobs = await _jobs(monitor)
            for index in disks:
                if f"{_NAME}{index}" not in jobs:
                    raise _broken(running, index, failed.get(f"{_NAME}{index}", ""))
            if all(job.get("ready") for job in jobs.values()):
                return
            if time.monotonic() - said >= timeouts.MIGRATION_REPORT:
                said = time.monotonic()
                progress(how_far(jobs))
            await news.next()


async def _gone(monitor: Monitor, running: Running) -> None:
    """Until no job is there any more."""
    with News(running).listening() as news:
        async with asyncio.timeout(timeouts.URGENT):
            while await _jobs(monitor):
                await news.next()


def _broken(running: Running, index: int, why: str) -> OperationFailed:
    return OperationFailed(
        f"disk {index} of {running.record.spec.name} could not be copied: "
        f"{why or 'the other end is gone'}",
        "the guest goes on where it was; see whether both nodes and the network between them are "
        "well, and whether the other one has room",
        object_name=running.record.spec.name,
    )


def how_far(jobs: Jobs) -> str:
    """Of jobs that are under way, in words. Pure."""
    total = sum(int(job["len"]) for job in jobs.values())
    done = sum(int(job["offset"]) for job in jobs.values())
    share = 100 * done // total if total else 0
    return f"disks: {share} %, {(total - done) / _MIB:.0f} MiB left"
