"""Replicas that are added, and taken away."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.operations.mirrored import DISK, IN_SYNC, SYNCING, mirror, mirrored
from tests.unit.operations.scene import NODE1, NODE2, NODE3, check, facts, live, snapshot
from tests.unit.operations.test_replicas_moved import GONE, UP, ready, run, running

from gantry.hooks.environment import values
from gantry.hooks.table import row
from gantry.model.entities import Instance
from gantry.model.errors import Rejected
from gantry.model.orders import DiskCreate, DiskRemove
from gantry.model.replica_orders import MirrorAttach, MirrorRelease, ReplicaClose, ReplicaServe
from gantry.model.replicas import ReplicaAdded, ReplicaRemoved
from gantry.operations import registry

ADD: dict[str, Any] = {
    "OP_ID": "OP_INSTANCE_ADD_MDDRBD",
    "instance_name": "web1",
    "disk_name": "sda",
    "remote_node": "node3",
}
REMOVE: dict[str, Any] = {
    "OP_ID": "OP_INSTANCE_REMOVE_MDDRBD",
    "instance_name": "web1",
    "disk_name": 0,
    "disk_id": 1,
}


async def test_a_further_replica_is_made_served_and_mirrored_to_and_all_is_undone() -> None:
    cluster = snapshot(UP, mirror(), **running(ready(NODE2)))
    outcome, steps = await run(cluster, ADD)
    undos = [type(getattr(undo, "order", undo)) for _, _, _, undo in steps.done]
    assert [type(order) for _, _, order, _ in steps.done] == [
        DiskCreate,
        ReplicaServe,
        MirrorAttach,
    ]
    assert undos == [DiskRemove, ReplicaClose, MirrorRelease]
    undo = steps.done[2][3]
    assert isinstance(undo, MirrorRelease) and undo.forget
    assert outcome.mirrors == (ReplicaAdded(disk=DISK.uuid, node=NODE3, state=SYNCING),)
    [instance] = outcome.put
    assert isinstance(instance, Instance) and instance.secondary_nodes == (NODE2, NODE3)
    assert outcome.result == 3


async def test_of_a_stopped_instance_it_is_copied_later() -> None:
    outcome, steps = await run(snapshot(mirrored(), mirror()), ADD)
    assert [type(order) for _, _, order, _ in steps.done] == [DiskCreate]
    assert len(outcome.mirrors) == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"remote_node": "node2"}, "already has a replica of disk 0.*number 1, in-sync"),
        ({"remote_node": "node1"}, "already has a replica.*the primary's"),
        ({"disk_name": "sdb"}, "no disk sdb"),
        ({"disk_name": "sda1"}, "no disk sda1"),
        ({"disk_name": 1}, "no disk 1"),
        ({"disk_name": "-2"}, "no disk -2"),
        ({"remote_node": "node9"}, "no node"),
    ],
)
def test_a_replica_that_cannot_be_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(Rejected, match=why):
        check(snapshot(mirrored(), mirror()), {**ADD, **changes})


def test_a_node_without_space_or_that_is_away_takes_none() -> None:
    full = {NODE3: live(facts(disk_free=100))}
    with pytest.raises(Rejected, match="MiB of disk"):
        check(snapshot(mirrored(), mirror(), nodes=full), ADD)
    with pytest.raises(Rejected, match="does not answer"):
        check(snapshot(mirrored(), mirror(), nodes={NODE3: GONE}), ADD)


async def test_a_replica_is_none_any_more_before_anything_of_it_goes() -> None:
    cluster = snapshot(UP, mirror(IN_SYNC, IN_SYNC), **running(ready(NODE2), ready(NODE3)))
    outcome, steps = await run(cluster, REMOVE)
    assert steps.done == []
    assert outcome.mirrors == (ReplicaRemoved(disk=DISK.uuid, node=NODE2),)
    assert [(undo.node, type(undo.order)) for undo in outcome.cleanup] == [
        (NODE1, MirrorRelease),
        (NODE2, ReplicaClose),
        (NODE2, DiskRemove),
    ]
    release = outcome.cleanup[0].order
    assert isinstance(release, MirrorRelease) and release.forget
    [instance] = outcome.put
    assert isinstance(instance, Instance) and instance.secondary_nodes == (NODE3,)


def test_the_last_one_in_sync_stays_while_another_is_only_being_made() -> None:
    cluster = snapshot(UP, mirror(IN_SYNC, SYNCING))
    with pytest.raises(Rejected, match="the only one in sync"):
        check(cluster, REMOVE)
    assert check(cluster, {**REMOVE, "force": True}).alone
    # The one that is not in sync may go, and so may the only other one.
    assert check(cluster, {**REMOVE, "disk_id": 2}).copy.node == NODE3
    assert check(snapshot(UP, mirror(IN_SYNC)), REMOVE).alone


@pytest.mark.parametrize(("number", "why"), [(0, "is the primary's"), (7, "no replica 7")])
def test_the_primarys_and_unknown_ones_are_refused(number: int, why: str) -> None:
    with pytest.raises(Rejected, match=why):
        check(snapshot(UP, mirror()), {**REMOVE, "disk_id": number})


def test_scripts_hear_which_disk_which_node_and_which_replica() -> None:
    cluster = snapshot(UP, mirror())
    for op, own in (
        (ADD, {"NEW_SECONDARY": "node3.example.com", "DISK_NAME": "sda"}),
        (REMOVE, {"OLD_SECONDARY": "node2.example.com", "DISK_NAME": "sda", "DISK_ID": 1}),
    ):
        operation = registry.load(op)
        subject = operation.subject(check(cluster, op), cluster)
        assert subject is not None
        told = values(row(op["OP_ID"]), subject, cluster)
        assert own.items() <= told.items()
        assert told["INSTANCE_SECONDARIES"] == "node2.example.com"
        assert told["INSTANCE_DISK_TEMPLATE"] == "mirror"
