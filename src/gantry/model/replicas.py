"""Which copy of a mirrored disk is current: the store's word, and how it changes. Pure.

See docs/adr/0015-mirror.md. A change says what becomes of one replica, and is applied to what
is there when it is committed, since states change while jobs hold the instance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

from gantry.model.entities import Mirror, Replica, ReplicaState
from gantry.model.names import Uuid


class ReplicaAdded(msgspec.Struct, frozen=True, kw_only=True, tag="added"):
    """The disk has a replica more on ``node``; one that is there already takes the state."""

    disk: Uuid
    node: Uuid
    state: ReplicaState


class ReplicaRemoved(msgspec.Struct, frozen=True, kw_only=True, tag="removed"):
    """The disk has no replica on ``node`` any more."""

    disk: Uuid
    node: Uuid


class ReplicaBecame(msgspec.Struct, frozen=True, kw_only=True, tag="became"):
    """The state of a replica is another one; one that is not there any more stays away.

    ``only_from``: nothing happens where it is in another state now.
    """

    disk: Uuid
    node: Uuid
    state: ReplicaState
    only_from: ReplicaState | None = None


MirrorChange: TypeAlias = ReplicaAdded | ReplicaRemoved | ReplicaBecame


def changed(mirror: Mirror, change: MirrorChange) -> Mirror:
    """The mirror after the change; the same one where it changes nothing."""
    found = mirror.replicas.get(change.node)
    match change:
        case ReplicaAdded() if found is None:
            added = Replica(number=mirror.next_number, state=change.state)
            return msgspec.structs.replace(
                mirror,
                replicas={**mirror.replicas, change.node: added},
                next_number=mirror.next_number + 1,
                serial_no=mirror.serial_no + 1,
            )
        case ReplicaRemoved() if found is not None:
            left = {node: one for node, one in mirror.replicas.items() if node != change.node}
            return msgspec.structs.replace(mirror, replicas=left, serial_no=mirror.serial_no + 1)
        case ReplicaAdded() | ReplicaBecame() if found is not None:
            wanted = change.only_from if isinstance(change, ReplicaBecame) else None
            if found.state is change.state or wanted not in (None, found.state):
                return mirror
            became = msgspec.structs.replace(found, state=change.state)
            return msgspec.structs.replace(
                mirror,
                replicas={**mirror.replicas, change.node: became},
                serial_no=mirror.serial_no + 1,
            )
    return mirror


def all_changed(mirrors: Mapping[Uuid, Mirror], changes: Iterable[MirrorChange]) -> list[Mirror]:
    """The mirrors that are different after the changes; of disks that are gone there are none."""
    found: dict[Uuid, Mirror] = {}
    for change in changes:
        mirror = found.get(change.disk) or mirrors.get(change.disk)
        if mirror is not None and (after := changed(mirror, change)) is not mirror:
            found[change.disk] = after
    return list(found.values())
