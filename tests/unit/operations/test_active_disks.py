"""Disks that are mirrored without their guest."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.unit.operations.mirrored import DISK, SYNCING, Asked, mirror, mirrored
from tests.unit.operations.scene import NODE1, NODE2, check, live, snapshot, up
from tests.unit.operations.steps import Written
from tests.unit.operations.test_mirrored import (
    CLEAN,
    GONE,
    REINSTALL,
    REMOVE,
    RENAME,
    START,
    UNCLEAN,
    guest,
    run,
)

from gantry.model.errors import OperationFailed, Rejected
from gantry.model.live import GuestState, MirrorLive, MirrorPhase, NodeLive
from gantry.model.replica_orders import DisksActivate, DisksDeactivate, ReplicasSeen

ACTIVATE: dict[str, Any] = {"OP_ID": "OP_INSTANCE_ACTIVATE_DISKS", "instance_name": "web1"}
DEACTIVATE: dict[str, Any] = {"OP_ID": "OP_INSTANCE_DEACTIVATE_DISKS", "instance_name": "web1"}


def active() -> dict[Any, NodeLive]:
    """Node 1 mirrors the disks of web1, which does not run."""
    [stopped] = up(state=GuestState.STOPPED).values()
    mirrored_to = MirrorLive(disk=DISK.uuid, node=NODE2, phase=MirrorPhase.READY)
    told = msgspec.structs.replace(stopped, mirrors=(mirrored_to,))
    return {NODE1: live(guests={told.uuid: told})}


async def test_what_is_not_in_sync_is_copied_without_a_guest() -> None:
    outcome, steps = await run(snapshot(mirrored(), mirror(SYNCING)), ACTIVATE)
    assert steps.names == ["serve-replica/0/node2.example.com", "activate-disks"]
    order, undo = steps.done[-1][2:]
    assert isinstance(order, DisksActivate) and order.disks[0].targets[0].full
    assert isinstance(undo, DisksDeactivate)
    assert outcome.result == [["node1.example.com", "disk/0", DISK.path]]


async def test_without_any_other_replica_there_is_nothing_to_activate() -> None:
    with pytest.raises(OperationFailed, match="can be had"):
        await run(snapshot(mirrored(), mirror(), nodes={NODE2: GONE}), ACTIVATE)
    running = {NODE1: live(guests=up())}
    with pytest.raises(Rejected, match="running"):
        check(snapshot(mirrored(), mirror(), nodes=running), ACTIVATE)


async def test_a_start_closes_them_in_order_first_and_others_are_told_to() -> None:
    cluster = snapshot(mirrored(), mirror(), nodes=active())
    clean = {"look-at-replicas": ReplicasSeen(replicas=(CLEAN,))}
    _, steps = await run(cluster, START, Written(answers=clean), Asked({NODE1: UNCLEAN}))
    assert steps.names[:2] == ["deactivate-disks", "look-at-replicas"]
    assert guest(steps).disks[0].targets[0].full is False
    for op in (RENAME, REINSTALL):
        with pytest.raises(Rejected, match="its disks are active"):
            check(cluster, op)
    outcome, _ = await run(cluster, REMOVE)
    assert isinstance(outcome.cleanup[0].order, DisksDeactivate)


async def test_deactivated_they_are_served_to_nobody() -> None:
    _, steps = await run(snapshot(mirrored(), mirror(), nodes=active()), DEACTIVATE)
    assert steps.names == ["deactivate-disks", "close-replica/0/node2.example.com"]
