"""The mirrors of guests that do not exist: ready at once, lost where a test wants it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gantry.model.live import GuestLive, MirrorLive, MirrorPhase
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec


def of(disks: Sequence[DiskSpec]) -> tuple[MirrorLive, ...]:
    """The mirrors that a guest with these disks begins with."""
    return tuple(_ready(disk.uuid, target.node) for disk in disks for target in disk.targets)


def attached(live: GuestLive, disk: Uuid, node: Uuid) -> GuestLive:
    """With one more; the same where it is there."""
    if any((one.disk, one.node) == (disk, node) for one in live.mirrors):
        return live
    return msgspec.structs.replace(live, mirrors=(*live.mirrors, _ready(disk, node)))


def released(live: GuestLive, disk: Uuid, node: Uuid) -> GuestLive:
    """Without it; the same where it is not there."""
    left = tuple(one for one in live.mirrors if (one.disk, one.node) != (disk, node))
    return live if left == live.mirrors else msgspec.structs.replace(live, mirrors=left)


def whole(live: GuestLive, node: Uuid) -> bool:
    """Whether all mirrors to that node are ready."""
    phases = [one.phase for one in live.mirrors if one.node == node]
    return bool(phases) and all(phase is MirrorPhase.READY for phase in phases)


def lost(live: GuestLive, node: Uuid, reason: str) -> GuestLive:
    """The replicas on that node do not answer any more."""
    mirrors = tuple(
        msgspec.structs.replace(one, phase=MirrorPhase.LOST, reason=reason)
        if one.node == node
        else one
        for one in live.mirrors
    )
    return msgspec.structs.replace(live, mirrors=mirrors)


def _ready(disk: Uuid, node: Uuid) -> MirrorLive:
    return MirrorLive(disk=disk, node=node, phase=MirrorPhase.READY)
