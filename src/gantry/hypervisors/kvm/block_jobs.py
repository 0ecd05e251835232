"""Mirroring a disk of a QEMU (or of its storage daemon) to exports of other nodes, by QMP.

A mirror holds the guest's writes for as long as its replica does not answer. What is only being
copied must not: the connections of a copy give up after a moment, and its end harms nobody. Once
all of it is there, the guest's device changes over to a mirror that holds (``changing_over``).
All names are made of the disk's index and the node's uuid, so that a later agent finds its way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from gantry.hypervisors.kvm import layers
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.model import timeouts
from gantry.model.errors import OperationFailed, Unavailable
from gantry.model.names import Uuid
from gantry.model.specs import MirrorTarget

FOR_EVER: Final = 2**32 - 1
"""Seconds for which QEMU holds writes where a connection is broken: as many as it takes."""
A_MOMENT: Final = 2
"""The same for a copy's: as long as a storage daemon takes to be there again."""
PURPOSES: Final = ("copy", "follow", "remote")
"""What connections are for."""
_OPEN: Final = 5
"""Seconds in which a connection must come about; all of QEMU waits for it."""
_LONG: Final = 20
_SOON: Final = 5
_CONCLUDED: Final = "concluded"
ASKING: Final[tuple[str, Mapping[str, object]]] = ("query-block-jobs", {})
"""The command whose answer has all jobs."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as QEMU says it; ``length`` and ``offset`` are bytes.

    ``ended``: it does no more, and waits for its outcome to be seen.
    """

    ready: bool
    length: int
    offset: int
    ended: bool = False
    error: str = ""


_FORGOTTEN: Final = Job(ready=False, length=0, offset=0, ended=True)


def job_name(index: int, node: Uuid) -> str:
    """The job that mirrors a disk to a node, and holds writes until they are there."""
    return f"mirror{index}-{node}"


def follow_name(index: int, node: Uuid) -> str:
    """The job that passes on what is written while a replica is copied."""
    return f"follow{index}-{node}"


def copy_name(index: int, node: Uuid) -> str:
    """The job that copies what a replica lacks."""
    return f"copy{index}-{node}"


def names(index: int, node: Uuid) -> tuple[str, ...]:
    """All jobs about a disk and a node, those first that others depend on."""
    return copy_name(index, node), follow_name(index, node), job_name(index, node)


def remote_name(index: int, node: Uuid, purpose: str = "remote") -> str:
    """The node name of a connection; QEMU allows 31 characters."""
    return f"{purpose}{index}-{node[-12:]}"


async def jobs(monitor: Monitor) -> dict[str, Job]:
    """All block jobs, by name."""
    [found] = await monitor.execute_all([ASKING])
    return told(found)


def told(answer: Iterable[Mapping[str, Any]]) -> dict[str, Job]:
    """Those of the answer to ``ASKING``. Pure."""
    return {
        str(one["device"]): Job(
            ready=bool(one["ready"]),
            length=int(one["len"]),
            offset=int(one["offset"]),
            ended=one["status"] == _CONCLUDED,
            error=str(one.get("error", "")),
        )
        for one in answer
    }


async def targets(monitor: Monitor, index: int) -> set[Uuid]:
    """The nodes to which there is a job for that disk."""
    kinds = tuple(name.partition("-")[0] for name in names(index, Uuid("")))
    parts = (name.partition("-") for name in await jobs(monitor))
    return {Uuid(node) for kind, _, node in parts if kind in kinds}


async def connect(
    monitor: Monitor,
    name: str,
    target: MirrorTarget,
    *,
    export: str,
    credentials: Path,
    host: str,
    patience: int,
    fresh: bool,
) -> None:
    """A node of that name is the export at ``target``; see ``connecting``.

    ``fresh``: there is none of that name.
    """
    if not fresh:
        await disconnect(monitor, name)
    commands = [
        securing(name, credentials),
        connecting(name, target, export=export, host=host, patience=patience),
    ]
    try:
        await monitor.execute_all(commands, timeouts.URGENT)
    except OperationFailed:
        await disconnect(monitor, name)
        raise


def securing(name: str, credentials: Path) -> tuple[str, dict[str, object]]:
    """The command by which a connection of that name will have its certificates. Pure."""
    return "object-add", {
        "qom-type": "tls-creds-x509",
        "id": f"tls-{name}",
        "dir": str(credentials),
        "endpoint": "client",
        "verify-peer": True,
        "sanity-check": False,
    }


def connecting(
    name: str, target: MirrorTarget, *, export: str, host: str, patience: int
) -> tuple[str, dict[str, object]]:
    """The command by which a node of that name becomes an export. Pure.

    The certificate there is for ``host``. ``patience``: seconds for which what is under way waits
    for a broken connection.
    """
    return "blockdev-add", {
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
        "reconnect-delay": patience,
        "open-timeout": _OPEN,
    }


async def disconnect(monitor: Monitor, name: str) -> None:
    """There is no such connection; what is not there is gone already."""
    if name in await layers.names(monitor):
        await monitor.execute("blockdev-del", timeouts.URGENT, **{"node-name": name})
    with contextlib.suppress(OperationFailed):  # it is not there
        await monitor.execute("object-del", id=f"tls-{name}")


def disconnecting(name: str) -> list[tuple[str, dict[str, object]]]:
    """The commands by which a connection that is there goes. Pure."""
    return [("blockdev-del", {"node-name": name}), ("object-del", {"id": f"tls-{name}"})]


async def mirror(monitor: Monitor, index: int, node: Uuid, *, number: int) -> None:
    """Every write that passes that layer goes to that node's connection as well, and is held.

    See ``connect``; it is ready when this returns. OperationFailed where it ends at once.
    """
    await start(monitor, job_name(index, node), index, number, remote_name(index, node))
    await ready(monitor, job_name(index, node))


async def start(
    monitor: Monitor, name: str, index: int, number: int, target: str, **more: Any
) -> None:
    """A mirror job on that layer; without ``more`` only what is written from now on is copied."""
    command, arguments = starting(name, index, number, target)
    await monitor.execute(command, timeouts.URGENT, **{**arguments, **more})


def starting(name: str, index: int, number: int, target: str) -> tuple[str, dict[str, object]]:
    """The command that begins such a job. Pure."""
    return "blockdev-mirror", {
        "job-id": name,
        "device": layers.layer(index, number),
        "target": target,
        "sync": "none",
        "copy-mode": "write-blocking",
        "filter-node-name": layers.filter_(index, number),
        "on-source-error": "report",
        "on-target-error": "report",
    }


async def ready(monitor: Monitor, name: str) -> None:
    """Wait until a mirror job with nothing to copy is ready. OperationFailed where it ends."""

    async def is_ready() -> bool:
        found = (await jobs(monitor)).get(name)
        if found is None or found.ended:
            raise OperationFailed("the mirror ended at once")
        return found.ready

    if not await monitor.until(is_ready, _LONG):
        raise OperationFailed("the mirror does not become ready")


async def release(monitor: Monitor, index: int, node: Uuid, *, answers: bool = False) -> None:
    """Mirror and copy there no longer; writes that wait for it go on. What is not there is gone.

    ``answers``: the other side does. Then the jobs come to their own end: to have writes fail on
    their way makes QEMU 7.2 crash now and then. Else the connections are cut first; then the
    jobs are cancelled, which also ends the wait for a new connection.
    """
    copy, follow, job = names(index, node)
    if answers:
        await end(monitor, copy)
        answers = await completed(monitor, follow) and await completed(monitor, job)
    if not answers:
        await cut(monitor, index, node)
        if not await _left(monitor, index, node):
            await layers.tidy(monitor, index)
            return
        for name in (copy, follow, job):
            await end(monitor, name)
    # QEMU writes everything out before it closes a connection: with one that breaks at just that
    # moment it would wait for ever, and hear nothing any more.
    await cut(monitor, index, node)
    for purpose in PURPOSES:
        await disconnect(monitor, remote_name(index, node, purpose))
    await layers.tidy(monitor, index)


async def _left(monitor: Monitor, index: int, node: Uuid) -> bool:
    """Whether there is a job or a connection for that disk and node, or a part of one."""
    connections = {remote_name(index, node, purpose) for purpose in PURPOSES}
    objects: list[dict[str, Any]] = []
    with contextlib.suppress(OperationFailed):  # a storage daemon has had none yet
        objects = await monitor.execute("qom-list", path="/objects")
    return bool(
        {f"tls-{name}" for name in connections} & {str(one["name"]) for one in objects}
        or connections & await layers.names(monitor)
        or {*names(index, node)} & (await jobs(monitor)).keys()
    )


async def leave(monitor: Monitor, index: int, node: Uuid) -> None:
    """Let go of the connection of a mirror that has come to its end; in one go, see ``release``."""
    away = disconnecting(remote_name(index, node))
    await asyncio.gather(
        cut(monitor, index, node, ("remote",)), monitor.execute_all(away, timeouts.URGENT)
    )


async def cut(
    monitor: Monitor, index: int, node: Uuid, purposes: tuple[str, ...] = PURPOSES
) -> None:
    """Cut connections, by a command that QEMU hears even where it waits for just these.

    One that is broken already it does nothing to: that is waited for as long as its patience is.
    """

    async def one(purpose: str) -> None:
        instances = [{"type": "block-node", "node-name": remote_name(index, node, purpose)}]
        with contextlib.suppress(OperationFailed):  # there is no connection now
            await monitor.execute_at_once("yank", instances=instances)

    await asyncio.gather(*(one(purpose) for purpose in purposes))


async def completed(monitor: Monitor, job: str) -> bool:
    """End a mirror job that is ready, with nothing under way; False where it does not end soon."""
    found = (await jobs(monitor)).get(job)
    if found is None:
        return True
    if not found.ready or found.ended:
        await end(monitor, job)
        return True
    return await concluded(monitor, job) is not None


async def concluded(monitor: Monitor, job: str) -> Job | None:
    """What became of a mirror job that is ready and is to end with nothing under way.

    None where it does not end soon. One that QEMU has forgotten by then has no error here.
    """
    with contextlib.suppress(OperationFailed):  # it has just ended
        await monitor.execute("block-job-cancel", device=job)
    found = _FORGOTTEN

    async def has_ended() -> bool:
        nonlocal found
        found = (await jobs(monitor)).get(job, _FORGOTTEN)
        return found.ended

    if not await monitor.until(has_ended, _SOON):
        return None
    if found is not _FORGOTTEN:
        await dismiss(monitor, job)
    return found


async def end(monitor: Monitor, job: str) -> None:
    """Cancel a job, and wait until it is gone."""
    try:
        await monitor.execute("block-job-cancel", timeouts.URGENT, device=job, force=True)
    except OperationFailed:
        found = (await jobs(monitor)).get(job)
        if found is not None and not found.ended:
            raise
    # It ends at once, but not within the command.
    there = True

    async def has_ended() -> bool:
        nonlocal there
        found = (await jobs(monitor)).get(job)
        there = found is not None
        return found is None or found.ended

    if not await monitor.until(has_ended, _LONG):
        raise Unavailable(f"the job {job} in QEMU does not end")
    if there:
        await dismiss(monitor, job)


async def dismiss(monitor: Monitor, job: str) -> None:
    """The outcome of a job that has ended has been seen."""
    if job in await jobs(monitor):
        with contextlib.suppress(OperationFailed):  # it has gone by itself
            await monitor.execute("job-dismiss", id=job)
