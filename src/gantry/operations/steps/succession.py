"""Mirrored disks change primaries while their guest stands still (docs/adr/0015-mirror.md).

What takes time is prepared while the guest still runs on the old primary: the other nodes' storage
daemons wait for the new one, and their replicas' records fit the next generation. Then one commit
makes it the disks', with the orders by which the new primary goes on and the others serve it. All
of that is done side by side; a write there waits for every replica that the store calls in sync.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from gantry.model import timeouts
from gantry.model.moving_orders import GuestResume
from gantry.model.names import Uuid
from gantry.model.replica_orders import ReplicaForgo, ReplicaPrepare, ReplicaServe
from gantry.model.replicas import MirrorChange, ReplicaBecame
from gantry.model.specs import DiskSpec, MirrorTarget
from gantry.operations.steps.mirrors import IN_SYNC, STALE, Copy, MirroredDisk
from gantry.operations.steps.promotion import Promotion
from gantry.ports.steps import Changes, Effect, Steps, Undo

Key = tuple[Uuid, Uuid]
"""A replica: its disk and its node."""


async def prepare(steps: Steps, promotion: Promotion) -> dict[Key, MirrorTarget]:
    """Where the replicas that are in sync will be served to the new primary.

    One that cannot be had is left behind, with a warning. Nothing has changed for the guest.
    """
    wanted = [
        (one, copy)
        for one in promotion.then.disks
        for copy in one.copies
        if copy.state is IN_SYNC and copy.there
    ]
    effects = [
        Effect(
            name=f"prepare-replica/{one.disk.index}/{copy.name}",
            node=copy.node,
            order=ReplicaPrepare(disk=one.disk, peer=promotion.then.peer, host=copy.host),
            undo=Undo(copy.node, ReplicaForgo(disk=one.disk)),
            otherwise=f"{_replica(one, copy)} is left behind",
        )
        for one, copy in wanted
    ]
    answers = await steps.all(effects, timeout=timeouts.URGENT)
    return {
        (one.disk.uuid, copy.node): MirrorTarget(
            node=copy.node,
            name=copy.name,
            host=copy.host,
            port=answer.port,
            content=answer.content,
        )
        for (one, copy), answer in zip(wanted, answers, strict=True)
        if answer is not None
    }


async def succeed(
    steps: Steps,
    promotion: Promotion,
    disks: Sequence[DiskSpec],
    targets: Mapping[Key, MirrorTarget],
    resume: GuestResume,
    drop: Undo,
) -> None:
    """The guest goes on on the new primary, with ``disks``. It stands still, and is all there.

    ``targets`` are those of the other replicas that are the same as its disks. ``drop`` ends the
    old primary's guest, where the rest fails once the change is durable.
    """
    mirrored = tuple(
        msgspec.structs.replace(
            disk, targets=tuple(to for (uuid, _), to in targets.items() if uuid == disk.uuid)
        )
        for disk in disks
    )
    effects = [
        Effect(
            name=f"serve-replica/{one.disk.index}/{copy.name}",
            node=copy.node,
            order=ReplicaServe(disk=one.disk, peer=promotion.then.peer, host=copy.host),
            otherwise=f"{_replica(one, copy)} is not served, and the guest waits until it is "
            "left behind",
        )
        for one in promotion.then.disks
        for copy in one.copies
        if (one.disk.uuid, copy.node) in targets
    ]
    effects.append(
        Effect(
            name="resume-guest",
            node=promotion.target,
            order=msgspec.structs.replace(resume, disks=mirrored),
            undo=drop,
        )
    )
    first = Changes(put=(promotion.after,), mirrors=states(promotion, targets))
    await steps.all(effects, first=first, timeout=timeouts.URGENT)


def same(
    steps: Steps,
    promotion: Promotion,
    targets: Mapping[Key, MirrorTarget],
    whole: Collection[Key],
) -> dict[Key, MirrorTarget]:
    """Those of the targets that have all that the guest's disks have, as its node says now.

    The old primary's have, of course. Of the others one may have been lost meanwhile.
    """
    for one in promotion.then.disks:
        for copy in one.copies:
            key = one.disk.uuid, copy.node
            if key in targets and copy.node != promotion.source and key not in whole:
                steps.warn(f"{_replica(one, copy)} is left behind: it was not mirrored at the end")
    return {
        key: target
        for key, target in targets.items()
        if target.node == promotion.source or key in whole
    }


def states(promotion: Promotion, targets: Collection[Key]) -> tuple[MirrorChange, ...]:
    """What all replicas are from the change on. Pure."""
    found: list[MirrorChange] = []
    for one in promotion.then.disks:
        disk = one.disk.uuid
        found.append(ReplicaBecame(disk=disk, node=promotion.target, state=IN_SYNC))
        for copy in one.copies:
            state = IN_SYNC if (disk, copy.node) in targets else STALE
            found.append(ReplicaBecame(disk=disk, node=copy.node, state=state))
    return tuple(found)


def _replica(one: MirroredDisk, copy: Copy) -> str:
    return f"the replica of disk {one.disk.index} on node {copy.name}"
