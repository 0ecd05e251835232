"""How a disk comes to be mirrored to a node: at once, or by way of a copy.

``changing_over`` says what a copy is, and how it becomes a mirror; ``resync`` what is copied.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Final

import msgspec

from gantry.hypervisors.contract import Peers
from gantry.hypervisors.kvm import block_jobs, changing_over, layers, probing, resync
from gantry.hypervisors.kvm.layers import Layers
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.hypervisors.kvm.one_mirror import OneMirror
from gantry.model.errors import OperationFailed, Unavailable
from gantry.model.timeouts import URGENT

_ABOUT_TO: Final = 5.0
"""Seconds within which a replica that is about to be served is."""
_MOMENT: Final = 0.01


class Means(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes. ``device``: a guest's device has the disk.

    ``secured``: the connections that have their certificates already.
    """

    monitor: Monitor
    peers: Peers
    device: bool
    secured: frozenset[str] = frozenset()


async def mirror(means: Means, one: OneMirror) -> None:
    """The replica has all that the disk has now; from now on every write is held for it.

    Nothing of an earlier mirror to it may be there; nor for ``copy``.
    """
    monitor, index, node = means.monitor, *one.key
    await resync.forget(monitor, index, node)
    await _connect(means, one, "remote", fresh=True)
    number = await layers.free(monitor, index, device=means.device)
    await block_jobs.mirror(monitor, index, node, number=number)


async def call(means: Means, one: OneMirror, name: str) -> str:
    """Connect to what may just be about to be served; the word for its content.

    QEMU itself would sleep for a second where it comes too early, and hear nothing meanwhile.
    Unavailable, OperationFailed. ``name``: of the guest.
    """
    remote, host = block_jobs.remote_name(*one.key), means.peers.host(one.target.node)
    made = asyncio.create_task(_secured(means, remote))
    try:
        content = await _served(means, one, name)
    finally:
        await made
    command = block_jobs.connecting(
        remote, one.target, export=one.disk.uuid, host=host, patience=block_jobs.FOR_EVER
    )
    await means.monitor.execute_all([command], URGENT)
    return content


async def _secured(means: Means, remote: str) -> None:
    """The connection can have its certificates; without them it is refused."""
    if remote in means.secured:
        return
    with contextlib.suppress(OperationFailed):  # an agent before has made it ready
        await means.monitor.execute_all(
            [block_jobs.securing(remote, means.peers.credentials())], URGENT
        )


async def _served(means: Means, one: OneMirror, name: str) -> str:
    deadline = time.monotonic() + _ABOUT_TO
    while True:
        try:
            return await probing.content(means.peers, one, name, soon=True)
        except Unavailable:
            if time.monotonic() >= deadline:
                raise
        await asyncio.sleep(_MOMENT)


async def first(means: Means, one: OneMirror, there: Layers) -> Layers:
    """The same as ``mirror``, after ``call``, in a QEMU that has not mirrored to it before.

    ``there``: the disk's layers; given back is what they are then.
    """
    index, node = one.key
    number, job = there.top + 1, block_jobs.job_name(index, node)
    commands = [
        *(resync.counting(index) if not there.top else ()),
        resync.knowing(index, node, one.content),
        layers.adding(index, number, there.node(there.top)),
        layers.moving(index, layers.layer(index, number)),
        block_jobs.starting(job, index, number, block_jobs.remote_name(index, node)),
        block_jobs.ASKING,
    ]
    *_, jobs = await means.monitor.execute_all(commands, URGENT)
    found = block_jobs.told(jobs).get(job)
    if found is None or not found.ready:
        await block_jobs.ready(means.monitor, job)
    return there.mirrored(number)


async def copy(means: Means, one: OneMirror) -> None:
    """Begin to copy what the replica lacks; all of it, where that is not known."""
    monitor, index, node = means.monitor, *one.key
    speed = one.disk.resync_rate << 20
    await resync.abandon(monitor, index, node)
    kept = (await resync.known(monitor, index)).get(node, "")
    partly = one.content != "" and kept == one.content and await _may_fail(means, index)
    if not partly:
        await resync.forget(monitor, index, node)
    await _connect(means, one, "follow", fresh=True)
    await changing_over.follow(
        monitor, index, node, full=not partly, speed=speed, device=means.device
    )
    if partly:
        await block_jobs.ready(monitor, block_jobs.follow_name(index, node))
        await _connect(means, one, "copy", fresh=True)
        await resync.copy(monitor, index, node, speed=speed)


async def _may_fail(means: Means, index: int) -> bool:
    """Whether a copy that cannot be made is no error of the guest's disk: see broken_copies.

    It is one to a device that was made for a file, which has become mirrored since.
    """
    return not means.device or await layers.stops(means.monitor, index)


async def change_over(means: Means, one: OneMirror) -> None:
    """All of it is there: from now on every write is held for it. OperationFailed."""
    await _connect(means, one, "remote")
    await changing_over.change_over(means.monitor, *one.key, device=means.device)
    await resync.abandon(means.monitor, *one.key)


async def proven(monitor: Monitor, one: OneMirror) -> bool:
    """Whether a mirror that an earlier agent began has all that was copied before it."""
    known = await resync.known(monitor, one.disk.index)
    return one.target.node in known and not await resync.begun(monitor, *one.key)


async def _connect(means: Means, one: OneMirror, purpose: str, *, fresh: bool = False) -> None:
    await block_jobs.connect(
        means.monitor,
        block_jobs.remote_name(*one.key, purpose),
        one.target,
        export=one.disk.uuid,
        credentials=means.peers.credentials(),
        host=means.peers.host(one.target.node),
        patience=block_jobs.FOR_EVER if purpose == "remote" else block_jobs.A_MOMENT,
        fresh=fresh,
    )
