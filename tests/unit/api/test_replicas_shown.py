"""Replicas of mirrored disks in listings, and in all there is to say of an instance."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.operations.mirrored import DISK, IN_SYNC, STALE, SYNCING, mirror, mirrored
from tests.unit.operations.scene import NODE1, NODE2, live, snapshot, up, web

from gantry.api.documents.instance import document
from gantry.api.query.instance import FIELDS, depends
from gantry.api.query.view import View
from gantry.model.entities import Instance, ReplicaState
from gantry.model.live import MirrorLive, MirrorPhase
from gantry.model.snapshot import Snapshot


def copying() -> dict[Any, Any]:
    """Node 1 runs web1 and copies a quarter of its disk to node 2."""
    told = MirrorLive(
        disk=DISK.uuid, node=NODE2, phase=MirrorPhase.COPYING, done=32 << 20, total=128 << 20
    )
    [guest] = up().values()
    return {NODE1: live(guests={guest.uuid: msgspec.structs.replace(guest, mirrors=(told,))})}


def redundancy(cluster: Snapshot, one: Instance) -> Any:
    field = FIELDS.find("disk.redundancy")
    return field.get(View(cluster), one)


@pytest.mark.parametrize(
    ("two", "three", "shown"),
    [
        (IN_SYNC, IN_SYNC, "in-sync"),
        (IN_SYNC, SYNCING, "syncing"),
        (SYNCING, STALE, "degraded"),
        (None, None, "none"),
    ],
)
def test_the_worst_replica_says_how_redundant_a_disk_is(
    two: ReplicaState | None, three: ReplicaState | None, shown: str
) -> None:
    assert redundancy(snapshot(mirrored(), mirror(two, three)), mirrored()) == [shown]


def test_an_instance_without_disks_has_none_to_show() -> None:
    assert redundancy(snapshot(), web(1)) == []


def test_all_replicas_are_shown_with_their_numbers_and_how_far_a_copy_is() -> None:
    one = mirrored()
    cluster = snapshot(one, mirror(SYNCING, STALE), nodes=copying())
    [disk] = document(View(cluster), one)["disks"]
    assert (disk["generation"], disk["on_degraded"]) == (1, "wait")
    assert disk["replicas"] == [
        {"id": 0, "node": "node1.example.com", "state": "primary"},
        {
            "id": 1,
            "node": "node2.example.com",
            "state": "syncing",
            "mirror": "copying",
            "copied": "25%",
        },
        {"id": 2, "node": "node3.example.com", "state": "stale"},
    ]


def test_a_row_is_made_anew_when_a_replica_changes() -> None:
    one = mirrored()
    before, after = snapshot(one, mirror()), snapshot(one, mirror(STALE))
    assert depends(View(before), one) != depends(View(after), one)
    assert depends(View(before), one) == depends(View(snapshot(one, mirror())), one)
