"""Mirroring a disk of a QEMU (or of its storage daemon) to exports of other nodes, by QMP.

A mirror job wants a node that nothing but a device uses, and other jobs (exports of a running
guest) want one that no mirror job works on. So each mirror has a layer of its own on top of
what was there: device, filter, layer, filter, layer, disk. The device is moved to a new layer
while the guest runs; what a mirror that has ended leaves is a layer that passes on, and is used
again by the next one. All names are made of the disk's index and the node's uuid, so that a
later agent finds its way.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path
from typing import Any, Final

import msgspec

from gantry.hypervisors.kvm.monitor import Monitor
from gantry.model import timeouts
from gantry.model.errors import OperationFailed, Unavailable
from gantry.model.names import Uuid
from gantry.model.specs import MirrorTarget

_FOR_EVER: Final = 2**32 - 1
"""Seconds for which QEMU holds writes where a connection is broken: as many as it takes."""
_JOB: Final = re.compile(r"mirror(\d+)-([0-9a-f-]{36})")
_LAYER: Final = re.compile(r"(layer|filter)(\d+)\.(\d+)")
_MOMENT: Final = 0.02
_MOMENTS: Final = 1000
_SOON: Final = 250


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as QEMU says it; ``length`` and ``offset`` are bytes."""

    ready: bool
    length: int
    offset: int


def job_name(index: int, node: Uuid) -> str:
    """The job that mirrors a disk to a node."""
    return f"mirror{index}-{node}"


def copy_name(index: int, node: Uuid) -> str:
    """The job that copies what a replica lacks."""
    return f"copy{index}-{node}"


def remote_name(index: int, node: Uuid, purpose: str = "remote") -> str:
    """The node name of a connection; QEMU allows 31 characters."""
    return f"{purpose}{index}-{node[-12:]}"


def parse(job: str) -> tuple[int, Uuid] | None:
    """Which disk's index and node a mirror job is of; None where it is none."""
    found = _JOB.fullmatch(job)
    return (int(found[1]), Uuid(found[2])) if found else None


async def jobs(monitor: Monitor) -> dict[str, Job]:
    """All block jobs, by name."""
    return {
        str(one["device"]): Job(
            ready=bool(one["ready"]), length=int(one["len"]), offset=int(one["offset"])
        )
        for one in await monitor.execute("query-block-jobs")
    }


async def connect(
    monitor: Monitor,
    name: str,
    target: MirrorTarget,
    *,
    export: str,
    credentials: Path,
    host: str,
) -> None:
    """A node of that name is the export at ``target``, whose certificate is for ``host``."""
    await disconnect(monitor, name)
    tls = {
        "qom-type": "tls-creds-x509",
        "id": f"tls-{name}",
        "dir": str(credentials),
        "endpoint": "client",
        "verify-peer": True,
        "sanity-check": False,
    }
    await monitor.execute("object-add", timeouts.URGENT, **tls)
    node = {
        "driver": "nbd",
        "node-name": name,
        "server": {
            "type": "inet",
            "host": target.host,
            "port": str(target.port),
            "numeric": True,
            "keep-alive": True,
        },
        "export": export,
        "tls-creds": f"tls-{name}",
        "tls-hostname": host,
        "reconnect-delay": _FOR_EVER,
    }
    try:
        await monitor.execute("blockdev-add", timeouts.URGENT, **node)
    except OperationFailed:
        await disconnect(monitor, name)
        raise


async def disconnect(monitor: Monitor, name: str) -> None:
    """There is no such connection; what is not there is gone already."""
    if name in await _nodes(monitor):
        await monitor.execute("blockdev-del", timeouts.URGENT, **{"node-name": name})
    with contextlib.suppress(OperationFailed):  # it is not there
        await monitor.execute("object-del", id=f"tls-{name}")


async def mirror(
    monitor: Monitor, index: int, node: Uuid, *, full: bool, speed: int, device: bool
) -> None:
    """From now on every write goes to that node's connection as well. See ``connect``.

    ``full``: and all that is there is copied, at ``speed`` bytes a second (0: at any). ``device``:
    a guest's device has the disk; it is moved to the new layer.
    """
    number = await _layer(monitor, index, device=device)
    arguments: dict[str, Any] = {
        "job-id": job_name(index, node),
        "device": f"layer{index}.{number}",
        "target": remote_name(index, node),
        "sync": "full" if full else "none",
        "copy-mode": "write-blocking",
        "filter-node-name": f"filter{index}.{number}",
        "on-source-error": "report",
        "on-target-error": "report",
        "speed": speed if full else 0,
    }
    await monitor.execute("blockdev-mirror", timeouts.URGENT, **arguments)


async def ready(monitor: Monitor, index: int, node: Uuid) -> None:
    """Wait until a mirror that has nothing to copy is ready. OperationFailed where it ends."""
    name = job_name(index, node)
    for _ in range(_MOMENTS):
        found = (await jobs(monitor)).get(name)
        if found is None:
            raise OperationFailed("the mirror ended at once")
        if found.ready:
            return
        await asyncio.sleep(_MOMENT)
    raise OperationFailed("the mirror does not become ready")


async def release(monitor: Monitor, index: int, node: Uuid, *, answers: bool = False) -> None:
    """Mirror there no longer; writes that wait for it go on. What is not there is gone already.

    ``answers``: the other side does. Then the job comes to its own end: to have writes fail on
    their way makes QEMU 7.2 crash now and then. Else the connection is cut first, by a command
    that QEMU hears even where it waits for that very write; then the job is cancelled, which
    also ends the wait for a new connection.
    """
    if answers:
        await end(monitor, copy_name(index, node))
        answers = await _completed(monitor, job_name(index, node))
    if not answers:
        name = remote_name(index, node)
        with contextlib.suppress(OperationFailed):  # there is no connection now
            instances = [{"type": "block-node", "node-name": name}]
            await monitor.execute_at_once("yank", instances=instances)
        for job in (copy_name(index, node), job_name(index, node)):
            await end(monitor, job)
    for purpose in ("remote", "copy"):
        await disconnect(monitor, remote_name(index, node, purpose))


async def _completed(monitor: Monitor, job: str) -> bool:
    """End a job that is ready, with nothing under way; False where it does not end soon."""
    found = (await jobs(monitor)).get(job)
    if found is None:
        return True
    if not found.ready:
        await end(monitor, job)
        return True
    with contextlib.suppress(OperationFailed):  # it has just ended
        await monitor.execute("block-job-cancel", device=job)
    for _ in range(_SOON):
        if job not in await jobs(monitor):
            return True
        await asyncio.sleep(_MOMENT)
    return False


async def end(monitor: Monitor, job: str) -> None:
    """Cancel a job, and wait until it is gone."""
    try:
        await monitor.execute("block-job-cancel", timeouts.URGENT, device=job, force=True)
    except OperationFailed:
        if job not in await jobs(monitor):
            return
        raise
    # It ends at once, but not within the command.
    for _ in range(_MOMENTS):
        if job not in await jobs(monitor):
            return
        await asyncio.sleep(_MOMENT)
    raise Unavailable(f"the job {job} in QEMU does not end")


async def _layer(monitor: Monitor, index: int, *, device: bool) -> int:
    """The number of a layer that has no mirror yet, on top of the disk."""
    found: dict[str, set[int]] = {"layer": set(), "filter": set()}
    for name in await _nodes(monitor):
        part = _LAYER.fullmatch(name)
        if part is not None and int(part[2]) == index:
            found[part[1]].add(int(part[3]))
    number = max(found["layer"], default=0)
    if number and number not in found["filter"]:
        return number
    below = f"filter{index}.{number}" if number else f"disk{index}"
    name = f"layer{index}.{number + 1}"
    layer = {"driver": "raw", "node-name": name, "file": below}
    await monitor.execute("blockdev-add", timeouts.URGENT, **layer)
    if device:
        path = f"/machine/peripheral/drive{index}"
        try:
            await monitor.execute(
                "qom-set", timeouts.URGENT, path=path, property="drive", value=name
            )
        except OperationFailed:
            await monitor.execute("blockdev-del", timeouts.URGENT, **{"node-name": name})
            raise
    return number + 1


async def _nodes(monitor: Monitor) -> set[str]:
    return {
        str(one["node-name"]) for one in await monitor.execute("query-named-block-nodes", flat=True)
    }
