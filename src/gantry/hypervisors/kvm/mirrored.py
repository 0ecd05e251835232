"""Guests with mirrored disks: their replicas here are opened and closed, their mirrors followed.

A replica is opened before QEMU is started, and closed only where QEMU has ended by its own
command and none of its mirrors had ended before: whatever else happens, it stays open, and the
next start knows that the other replicas may differ.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gantry.hypervisors.contract import Peers, Replicas
from gantry.hypervisors.kvm import block_jobs, held, layers
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.hypervisors.kvm.running import Running
from gantry.model import timeouts
from gantry.model.entities import DiskTemplate
from gantry.model.errors import GantryError, OperationFailed, Reason, Rejected
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec, GuestSpec
from gantry.model.specs import MirrorTarget

if TYPE_CHECKING:
    from gantry.hypervisors.kvm.renewing import GuestMirrors

_log = logging.getLogger(__name__)


class Means(msgspec.Struct, frozen=True, kw_only=True):
    """What the node contributes: its replicas, and the way to those of other nodes."""

    replicas: Replicas
    peers: Peers


class NotBegun(OperationFailed):
    """A guest's mirrors could not be begun: QEMU itself is well."""


def any_of(spec: GuestSpec) -> bool:
    """Whether it has mirrored disks."""
    return any(disk.template is DiskTemplate.MIRROR for disk in spec.disks)


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A guest's replicas that it is about to write to. ``undo``: it has not written after all.

    ``kept``: the disks of which it is kept what had been counted.
    """

    undo: Callable[[], Awaitable[None]]
    kept: frozenset[Uuid] = frozenset()


async def open_replicas(spec: GuestSpec, means: Means | None) -> Opened:
    """The guest is about to write to its replicas here. Rejected: one must not be used."""
    if not any_of(spec):
        return Opened(undo=nothing)
    if means is None:
        raise Rejected(f"{spec.name} cannot run here: no mirrored disks here")
    kept = await means.replicas.kept(spec.disks)
    return Opened(undo=await means.replicas.open(spec.disks), kept=kept)


async def begin(running: Running, means: Means | None, kept: frozenset[Uuid]) -> None:
    """Mirror all of its disks; it does not run yet. NotBegun, with the cause."""
    spec = running.record.spec
    if means is None or not any_of(spec):
        return
    try:
        mirrors = look_after(running, means)
        if kept:
            from gantry.hypervisors.kvm import keeping

            monitor = await running.monitor(timeouts.QMP)
            await keeping.restore(monitor, spec.name, _files(spec, means), kept)
        await mirrors.begin(spec.disks)
    except GantryError as error:
        raise NotBegun(
            f"{spec.name} cannot be started: {error.message}",
            error.hint,
            reason=error.reason,
            object_name=spec.name,
        ) from error


async def join(
    running: Running, means: Means, ready: Callable[[set[str]], Awaitable[None]]
) -> None:
    """Mirror all disks, once ``ready``, of a guest that came here, and is held.

    Where one cannot be mirrored to it is lost.
    """
    await look_after(running, means).join(running.record.spec.disks, ready, running.awaited)


async def adopt(running: Running, means: Means | None) -> None:
    """Find the mirrors of a guest that an earlier agent started."""
    spec = running.record.spec
    awaited = running.record.incoming is not None and not any(one.targets for one in spec.disks)
    if means is not None and any_of(spec) and not awaited:
        await look_after(running, means).adopt(spec.disks)
        await held.go_on(running)


async def attach(running: Running, index: int, target: MirrorTarget) -> None:
    """One mirror more. It is recorded before, so that a later agent finds it."""
    disk = _disk(running, index)
    if running.mirrors is None or disk.template is not DiskTemplate.MIRROR:
        raise Rejected(
            f"disk {index} of {running.record.spec.name} cannot be mirrored: it is of template "
            f"{disk.template}",
            reason=Reason.STATE,
            object_name=running.record.spec.name,
        )
    if running.mirrors.attached(index, target.node):
        return
    others = tuple(one for one in disk.targets if one.node != target.node)
    await _retarget(running, index, (*others, target))
    try:
        await running.mirrors.attach(disk, target)
    except BaseException:
        await _retarget(running, index, others)
        raise


async def release(running: Running, index: int, node: Uuid, *, forget: bool = False) -> None:
    """One mirror less. ``forget``: nothing is counted for it any more."""
    if running.mirrors is None:
        return
    disk = _disk(running, index)
    await running.mirrors.release(index, node)
    await _retarget(running, index, tuple(one for one in disk.targets if one.node != node))
    if forget:
        from gantry.hypervisors.kvm import resync

        await resync.forget(await running.monitor(timeouts.QMP), index, node)


async def end_all(running: Running, monitor: Monitor, index: int) -> None:
    """Nothing mirrors the disk in that place, also where an earlier agent had begun to."""
    if running.mirrors is not None:
        for node in await block_jobs.targets(monitor, index) | running.mirrors.nodes(index):
            await running.mirrors.release(index, node)


async def movable(running: Running) -> None:
    """Its disks can be switched over to another node; else Rejected.

    A device that was made for a file would show the guest an error in that moment: ``barrier``.
    """
    monitor = await running.monitor(timeouts.QMP)
    spec = running.record.spec
    for disk in spec.disks:
        if disk.template is DiskTemplate.MIRROR and not await layers.stops(monitor, disk.index):
            raise Rejected(
                f"{spec.name} cannot be migrated: its disk {disk.index} has become mirrored since "
                "it was started",
                f"after its next start it can: gnt-instance failover {spec.name} starts it on "
                "the other node",
                reason=Reason.STATE,
                object_name=spec.name,
            )


def look_after(running: Running, means: Means) -> GuestMirrors:
    """What follows its mirrors, of which there are none yet, and closes its replicas at its end."""
    from gantry.hypervisors.kvm.renewing import GuestMirrors

    running.mirrors = GuestMirrors(
        running.record.spec.name, means.peers, running.monitor, running.mirrors_changed
    )

    kept, resumed = set[Uuid](), -1

    async def leaving(monitor: Monitor) -> None:
        nonlocal kept, resumed
        kept, resumed = set(), running.resumed
        spec, mirrors = running.record.spec, running.mirrors
        if mirrors is not None and running.record.incoming is None:
            from gantry.hypervisors.kvm import keeping

            kept = await keeping.save(monitor, spec.name, _files(spec, means), mirrors.live())

    async def closed() -> None:
        # What went on after all has written what is not counted there.
        counted = kept if running.resumed == resumed else set[Uuid]()
        try:
            await means.replicas.closed(running.record.spec.disks, counted)
        except GantryError as error:
            _log.error("replicas of %s stay open: %s", running.record.spec.name, error)

    running.closed, running.leaving = closed, leaving
    return running.mirrors


def _files(spec: GuestSpec, means: Means) -> dict[Path, DiskSpec]:
    """Where it is kept what was counted of each mirrored disk."""
    return {
        means.replicas.bitmaps(disk): disk
        for disk in spec.disks
        if disk.template is DiskTemplate.MIRROR
    }


async def _retarget(running: Running, index: int, targets: Sequence[MirrorTarget]) -> None:
    spec = running.record.spec
    disks = tuple(
        msgspec.structs.replace(disk, targets=tuple(targets)) if disk.index == index else disk
        for disk in spec.disks
    )
    if disks != spec.disks:
        await running.respecify(msgspec.structs.replace(spec, disks=disks))


def _disk(running: Running, index: int) -> DiskSpec:
    for disk in running.record.spec.disks:
        if disk.index == index:
            return disk
    raise Rejected(
        f"{running.record.spec.name} has no disk {index}",
        reason=Reason.UNKNOWN,
        object_name=running.record.spec.name,
    )


async def nothing() -> None:
    """Nothing was opened."""
