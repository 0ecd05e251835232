"""Mirrored disks that an instance gets and loses, with all their replicas. Pure."""

from __future__ import annotations

import msgspec

from gantry.model.entities import DiskTemplate, Instance, Mirror
from gantry.model.errors import Reason, Rejected
from gantry.model.snapshot import Claim, Snapshot
from gantry.operations.steps import checks, mirrors, placing
from gantry.operations.steps.disk_changes import Edited
from gantry.operations.steps.mirrors import Mirroring


class Replicas(msgspec.Struct, frozen=True, kw_only=True):
    """Of the disks that are made, and of those that go, with their records in the store."""

    after: Instance
    made: Mirroring
    gone: Mirroring
    records: tuple[Mirror, ...]
    dropped: tuple[Mirror, ...]
    claims: tuple[Claim, ...]


def plan(
    cluster: Snapshot, before: Instance, after: Instance, edited: Edited, now: float
) -> Replicas | None:
    """None where no mirrored disk comes or goes; Rejected where none can."""
    if before.disk_template is not DiskTemplate.MIRROR or not (edited.made or edited.gone):
        return None
    what = f"change disks of instance {before.name}"
    whole = mirrors.required(cluster, before, what)
    if whole.active:
        raise Rejected(
            f"cannot {what}: its disks are active, and mirrored without it",
            f"gnt-instance deactivate-disks {before.name}",
            reason=Reason.STATE,
            object_name=before.name,
        )
    if checks.running(cluster, before) and {*edited.made} & {place for place, _ in edited.gone}:
        raise Rejected(
            f"cannot {what}: while it runs no mirrored disk takes the place of another at once",
            "take the one away first, and then add the other: two commands",
            reason=Reason.STATE,
            object_name=before.name,
        )
    space = sum(after.disks[at].size for at in edited.made)
    for uuid in before.secondary_nodes if edited.made else ():
        placing.takes(cluster, cluster.nodes[uuid], space, f"keep replicas of {before.name}")
    fresh = tuple(mirrors.made(before, after.disks[at], copied=True, now=now) for at in edited.made)
    lost = {disk.uuid for _, disk in edited.gone}
    dropped = tuple(one for one in mirrors.records(cluster, before) if one.uuid in lost)
    left = [one for one in mirrors.records(cluster, before) if one.uuid not in lost]
    after = msgspec.structs.replace(
        after, secondary_nodes=mirrors.secondaries(before, [*left, *fresh])
    )
    placed = cluster.with_changes(cluster.revision, [after, *fresh])
    then = mirrors.required(placed, after, what)
    places = [at for at, _ in edited.gone]
    others = before.secondary_nodes if edited.made else ()
    return Replicas(
        after=after,
        made=_of(then, edited.made),
        gone=_of(whole, places),
        records=fresh,
        dropped=dropped,
        claims=tuple(Claim(node=uuid, disk=space) for uuid in others),
    )


def _of(whole: Mirroring, places: tuple[int, ...] | list[int]) -> Mirroring:
    disks = tuple(one for one in whole.disks if one.disk.index in places)
    return msgspec.structs.replace(whole, disks=disks)
