"""Mirrored disks that come to a stopped instance and go: with all their replicas, or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.operations.mirrored import DISK, IN_SYNC, mirror, mirrored
from tests.unit.operations.scene import NODE1, NODE2, NODE3, check, facts, live, snapshot
from tests.unit.operations.test_replicas_moved import GONE, UP, ready, run, running

from gantry.model.entities import Instance, Mirror
from gantry.model.errors import Rejected
from gantry.model.orders import DiskCreate, DiskRemove

SET: dict[str, Any] = {"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": "web1"}
ADD = {**SET, "disks": (("add", -1, {"size": 64}),)}
INSTEAD = {**SET, "disks": (("add", -1, {"size": 64}), ("remove", 0))}


async def test_a_disk_comes_to_all_nodes_in_sync() -> None:
    outcome, steps = await run(snapshot(mirrored(), mirror()), ADD)
    assert [(type(order), node) for _, node, order, _ in steps.done] == [
        (DiskCreate, NODE1),
        (DiskCreate, NODE2),
    ]
    instance, record = outcome.put
    assert isinstance(instance, Instance) and isinstance(record, Mirror)
    assert instance.disks[1].generation == 1 and instance.secondary_nodes == (NODE2,)
    assert record.uuid == instance.disks[1].uuid
    assert {node: one.state for node, one in record.replicas.items()} == {
        NODE1: IN_SYNC,
        NODE2: IN_SYNC,
    }


async def test_one_that_goes_leaves_nothing_anywhere() -> None:
    outcome, _ = await run(snapshot(mirrored(), mirror(IN_SYNC, IN_SYNC)), INSTEAD)
    assert [one.uuid for one in outcome.delete] == [DISK.uuid]
    removed = {undo.node for undo in outcome.cleanup if isinstance(undo.order, DiskRemove)}
    assert removed == {NODE1, NODE2, NODE3}


@pytest.mark.parametrize(
    ("cluster", "why"),
    [
        (snapshot(UP, mirror(), **running(ready(NODE2))), "it runs, and mirrored disks come"),
        (snapshot(mirrored(), mirror(), nodes={NODE2: GONE}), "does not answer"),
        (
            snapshot(mirrored(), mirror(), nodes={NODE2: live(facts(disk_free=10))}),
            "MiB of disk",
        ),
    ],
)
def test_what_cannot_be_is_refused(cluster: Any, why: str) -> None:
    for more in ({}, {"hotplug": True}):
        with pytest.raises(Rejected, match=why):
            check(cluster, {**ADD, **more})
