"""Mirrored disks that come to an instance and go: with all their replicas, or not at all."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.support.agent_process import new_uuid
from tests.unit.operations.mirrored import DISK, IN_SYNC, mirror, mirrored
from tests.unit.operations.scene import NODE1, NODE2, NODE3, check, facts, live, snapshot
from tests.unit.operations.test_replicas_moved import GONE, UP, ready, run, running

from gantry.model.entities import DiskTemplate, Instance, Mirror, OnDegraded
from gantry.model.errors import Rejected
from gantry.model.orders import DiskCreate, DiskPlug, DiskRemove, DiskUnplug
from gantry.model.replica_orders import ReplicaClose, ReplicaServe
from gantry.ports.steps import Undo

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


async def test_a_guest_that_runs_gets_one_that_is_mirrored_before_it_sees_it() -> None:
    cluster = snapshot(UP, mirror(), **running(ready(NODE2)))
    outcome, steps = await run(cluster, {**ADD, "hotplug": True})
    assert [(type(order), type(undo), node) for _, node, order, undo in steps.done] == [
        (DiskCreate, DiskRemove, NODE1),
        (DiskCreate, Undo, NODE2),
        (ReplicaServe, ReplicaClose, NODE2),
        (DiskPlug, DiskUnplug, NODE1),
    ]
    serve, plug = steps.done[2][2], steps.done[3][2]
    assert isinstance(serve, ReplicaServe) and not serve.overwrite
    assert isinstance(plug, DiskPlug)
    [target] = plug.disk.targets
    assert (target.node, target.full) == (NODE2, False)
    assert outcome.cleanup == ()


async def test_a_guest_that_runs_lets_go_of_one_which_is_mirrored_until_the_commit() -> None:
    second = msgspec.structs.replace(DISK, uuid=new_uuid(), path=f"{DISK.path}1")
    record = msgspec.structs.replace(mirror(), uuid=second.uuid, name=second.uuid)
    instance = msgspec.structs.replace(UP, disks=(DISK, second))
    cluster = snapshot(instance, mirror(), record, **running(ready(NODE2)))
    op = {**SET, "disks": (("remove", -1),), "hotplug": True}
    outcome, steps = await run(cluster, op)
    [(name, node, order, undo)] = steps.done
    assert (name, node, type(undo)) == ("unplug-disk/1", NODE1, DiskPlug)
    assert isinstance(order, DiskUnplug) and order.keep
    assert [(type(one.order), one.node) for one in outcome.cleanup] == [
        (DiskUnplug, NODE1),
        (DiskRemove, NODE1),
        (ReplicaClose, NODE2),
        (DiskRemove, NODE2),
    ]
    assert outcome.cleanup[0].order == msgspec.structs.replace(order, keep=False)


@pytest.mark.parametrize(
    ("op", "why"),
    [
        (ADD, "it runs"),
        ({**SET, "hotplug": True, "disks": (("remove", -1), ("add", -1, {"size": 64}))}, "place"),
    ],
)
def test_under_a_guest_that_runs_not_everything_can_be(op: Any, why: str) -> None:
    second = msgspec.structs.replace(DISK, uuid=new_uuid(), path=f"{DISK.path}1")
    record = msgspec.structs.replace(mirror(), uuid=second.uuid, name=second.uuid)
    instance = msgspec.structs.replace(UP, disks=(DISK, second))
    with pytest.raises(Rejected, match=why):
        check(snapshot(instance, mirror(), record, **running(ready(NODE2))), op)


@pytest.mark.parametrize(
    ("cluster", "why"),
    [
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


def test_what_becomes_of_its_writes_can_be_chosen_anew() -> None:
    cluster = snapshot(mirrored(), mirror())
    op = {**SET, "disks": (("modify", 0, {"on_degraded": "continue", "resync_rate": "50"}),)}
    plan = check(cluster, op)
    [disk] = plan.after.disks
    assert (disk.on_degraded, disk.resync_rate) == (OnDegraded.CONTINUE, 50)
    assert plan.told == (("disk.on_degraded/0", "continue"), ("disk.resync_rate/0", 50))
    added = check(cluster, {**SET, "disks": (("add", -1, {"size": 8, "resync_rate": 5}),)})
    assert added.after.disks[1].resync_rate == 5
    for values in ({"on_degraded": "never"}, {"resync_rate": "fast"}):
        with pytest.raises(Rejected, match=r"is wait or continue|MiB a second"):
            check(cluster, {**SET, "disks": (("modify", 0, values),)})
    file = msgspec.structs.replace(DISK, template=DiskTemplate.FILE, generation=0)
    as_file = mirrored(disk_template=DiskTemplate.FILE, disks=(file,), secondary_nodes=())
    with pytest.raises(Rejected, match="of mirrored disks alone"):
        check(snapshot(as_file), {**SET, "disks": (("modify", 0, {"on_degraded": "wait"}),)})
