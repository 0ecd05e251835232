"""Replicas that are made anew: where they are, or on another node."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.operations.mirrored import (
    DISK,
    IN_SYNC,
    STALE,
    SYNCING,
    Asked,
    examined,
    mirror,
    mirrored,
)
from tests.unit.operations.scene import NODE1, NODE2, NODE3, check, snapshot, web
from tests.unit.operations.steps import Written
from tests.unit.operations.test_replicas_moved import GONE, UP, ready, running

from gantry.hooks.environment import in_version, values
from gantry.hooks.table import row
from gantry.model.entities import Instance
from gantry.model.errors import Rejected
from gantry.model.orders import DiskCreate, DiskRemove
from gantry.model.replica_orders import (
    MirrorAttach,
    MirrorRelease,
    MirrorWait,
    ReplicaClose,
    ReplicaMark,
    ReplicaSeen,
    ReplicaServe,
)
from gantry.model.replicas import ReplicaAdded, ReplicaBecame, ReplicaRemoved
from gantry.model.snapshot import Snapshot
from gantry.operations import registry
from gantry.ports.steps import Outcome

OP: dict[str, Any] = {"OP_ID": "OP_INSTANCE_REPLACE_DISKS", "instance_name": "web1"}
NEW: dict[str, Any] = {**OP, "mode": "replace_new_secondary", "remote_node": "node3"}
SAME: dict[str, Any] = {**OP, "mode": "replace_on_secondary"}
AUTO: dict[str, Any] = {**OP, "mode": "replace_auto"}
THREE = mirrored(secondary_nodes=(NODE2, NODE3))


async def run(cluster: Snapshot, op: dict[str, Any]) -> tuple[Outcome, Written]:
    steps = Written()
    return await registry.load(op).run(check(cluster, op), steps), steps


def kinds(steps: Written) -> list[type]:
    return [type(order) for _, _, order, _ in steps.done]


async def test_the_new_one_is_in_sync_before_the_old_one_goes() -> None:
    outcome, steps = await run(snapshot(UP, mirror(), **running(ready(NODE2))), NEW)
    assert kinds(steps) == [DiskCreate, ReplicaServe, MirrorAttach, MirrorWait, ReplicaMark]
    assert outcome.mirrors == (
        ReplicaAdded(disk=DISK.uuid, node=NODE3, state=IN_SYNC),
        ReplicaRemoved(disk=DISK.uuid, node=NODE2),
    )
    [after] = outcome.put
    assert isinstance(after, Instance) and after.secondary_nodes == (NODE3,)
    assert [(undo.node, type(undo.order)) for undo in outcome.cleanup] == [
        (NODE1, MirrorRelease),
        (NODE2, ReplicaClose),
        (NODE2, DiskRemove),
    ]
    undos = [type(getattr(undo, "order", undo)) for _, _, _, undo in steps.done]
    assert undos[:3] == [DiskRemove, ReplicaClose, MirrorRelease]


@pytest.mark.parametrize("early", [False, True])
async def test_an_old_one_that_is_of_no_use_is_not_waited_for(early: bool) -> None:
    state = IN_SYNC if early else STALE
    cluster = snapshot(UP, mirror(state), **running())
    outcome, steps = await run(cluster, {**NEW, "early_release": early})
    assert kinds(steps) == [DiskCreate, ReplicaServe, MirrorAttach]
    assert outcome.mirrors[0] == ReplicaAdded(disk=DISK.uuid, node=NODE3, state=SYNCING)


async def test_of_a_stopped_one_only_what_is_of_no_use_goes() -> None:
    with pytest.raises(Rejected, match="it is down"):
        check(snapshot(mirrored(), mirror()), NEW)
    _, steps = await run(snapshot(mirrored(), mirror(STALE)), NEW)
    assert kinds(steps) == [DiskCreate]


async def test_on_the_same_node_it_is_stale_before_anything_of_it_goes() -> None:
    outcome, steps = await run(snapshot(UP, mirror(), **running(ready(NODE2))), SAME)
    assert kinds(steps) == [
        MirrorRelease,
        ReplicaClose,
        DiskRemove,
        DiskCreate,
        ReplicaServe,
        MirrorAttach,
    ]
    [change] = steps.firsts["release-mirror/0"].mirrors
    assert change.state is STALE  # type: ignore[union-attr]
    [change] = steps.firsts["serve-replica/0/node2.example.com"].mirrors
    assert change.state is SYNCING  # type: ignore[union-attr]
    assert outcome.put == ()


async def test_auto_finds_what_is_not_as_it_should_be() -> None:
    stale = check(snapshot(UP, mirror(STALE), **running()), AUTO)
    assert (stale.old, stale.new) == ("node2.example.com", None)
    away = running()
    away["nodes"][NODE2] = GONE
    gone = check(snapshot(UP, mirror(STALE), **away), AUTO)
    assert (gone.old, gone.new) == ("node2.example.com", "node3.example.com")


def test_with_several_the_one_that_is_not_as_it_should_be_or_that_is_named() -> None:
    with pytest.raises(Rejected, match="2 secondary nodes"):
        check(snapshot(THREE, mirror(IN_SYNC, IN_SYNC)), SAME)
    assert check(snapshot(THREE, mirror(IN_SYNC, STALE)), SAME).old == "node3.example.com"
    named = {**SAME, "old_node": "node2"}
    assert check(snapshot(THREE, mirror(IN_SYNC, IN_SYNC)), named).old == "node2.example.com"
    with pytest.raises(Rejected, match="is no secondary node"):
        check(snapshot(THREE, mirror(IN_SYNC, IN_SYNC)), {**SAME, "old_node": "node1"})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"mode": "often"}, "no mode 'often'"),
        ({"remote_node": "node2"}, "already has a replica"),
        ({"remote_node": "node1"}, "already has a replica"),
        ({"remote_node": None}, "given with -n"),
        ({"disks": (0,)}, "where they are"),
        ({"iallocator": "hail"}, "no instance allocator"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(Rejected, match=why):
        check(snapshot(UP, mirror(STALE), **running()), {**NEW, **changes})


def test_single_disks_must_be_there_and_so_must_the_node() -> None:
    with pytest.raises(Rejected, match="disks 0 to 0"):
        check(snapshot(UP, mirror(), **running()), {**SAME, "disks": (1,)})
    away = running()
    away["nodes"][NODE2] = GONE
    with pytest.raises(Rejected, match="the node is away"):
        check(snapshot(UP, mirror(), **away), SAME)
    with pytest.raises(Rejected, match="has no replicas"):
        check(snapshot(web(1)), SAME)


def test_scripts_hear_the_old_and_the_new_node_in_both_versions() -> None:
    cluster = snapshot(UP, mirror(STALE), **running())
    for op, new, seed in (
        (NEW, "node3.example.com", "node3.example.com"),
        (SAME, "None", "node2.example.com"),
    ):
        operation = registry.load(op)
        subject = operation.subject(check(cluster, op), cluster)
        assert subject is not None
        entry = row(op["OP_ID"])
        told = values(entry, subject, cluster)
        for version, wanted in ((2, new), (1, seed)):
            shown = in_version(entry, subject, version, told)
            assert shown["NEW_SECONDARY"] == wanted
            assert shown["OLD_SECONDARY"] == "node2.example.com"
            assert shown["MODE"] == op["mode"]


PRIMARY: dict[str, Any] = {**OP, "mode": "replace_on_primary"}
FOREIGN = ReplicaSeen(disk=DISK.uuid, there=True, generation=1, problem="a foreign write")


def codes(outcome: Outcome) -> list[tuple[str, str]]:
    [job] = outcome.jobs
    return [
        (str(op["OP_ID"]).removeprefix("OP_INSTANCE_"), str(op.get("target_node", "")))
        for op in job
    ]


async def test_the_primarys_is_made_anew_by_way_of_a_node_in_sync_while_the_guest_runs() -> None:
    outcome, steps = await run(
        snapshot(UP, mirror(), **running(ready(NODE2))), {**PRIMARY, "disks": (0,)}
    )
    assert steps.done == [] and outcome.put == ()
    assert codes(outcome) == [
        ("MIGRATE", "node2.example.com"),
        ("REPLACE_DISKS", ""),
        ("MIGRATE", "node1.example.com"),
    ]
    anew = outcome.jobs[0][1]
    assert (anew["mode"], anew["old_node"], anew["disks"], anew["wait_for_sync"]) == (
        "replace_on_secondary",
        "node1.example.com",
        [0],
        True,
    )
    for op in outcome.jobs[0]:
        registry.load(op)


async def test_of_one_that_is_down_it_is_copied_without_the_guest() -> None:
    outcome, _ = await run(snapshot(mirrored(), mirror()), PRIMARY)
    assert codes(outcome) == [
        ("FAILOVER", "node2.example.com"),
        ("REPLACE_DISKS", ""),
        ("ACTIVATE_DISKS", ""),
        ("DEACTIVATE_DISKS", ""),
        ("FAILOVER", "node1.example.com"),
    ]
    assert outcome.jobs[0][2]["wait_for_sync"]
    outcome, _ = await run(snapshot(UP, mirror()), PRIMARY)
    assert [code for code, _ in codes(outcome)] == ["FAILOVER", "REPLACE_DISKS", "MIGRATE"]


def test_without_another_one_in_sync_the_primarys_stays() -> None:
    with pytest.raises(Rejected, match="in sync"):
        check(snapshot(mirrored(), mirror(STALE)), PRIMARY)


async def test_by_itself_the_primarys_is_replaced_where_it_must_not_be_used() -> None:
    cluster = snapshot(mirrored(), mirror())
    operation, plan = registry.load(AUTO), check(cluster, AUTO)
    with pytest.raises(Rejected, match="nothing is to be replaced"):
        await examined(operation, plan, cluster)
    found = await examined(operation, plan, cluster, Asked({NODE1: FOREIGN}))
    outcome = await operation.run(found, Written())
    assert codes(outcome)[0] == ("FAILOVER", "node2.example.com")


async def test_by_itself_nothing_is_replaced_while_the_other_one_is_copied() -> None:
    """What the primary's would need is not talked about: nobody is to lose data for that."""
    cluster = snapshot(UP, mirror(SYNCING), **running())
    operation, plan = registry.load(AUTO), check(cluster, AUTO)
    with pytest.raises(Rejected, match="is being copied") as caught:
        await examined(operation, plan, cluster)
    assert "ignore-consistency" not in caught.value.hint
    with pytest.raises(Rejected, match="that are in sync"):
        await examined(operation, plan, cluster, Asked({NODE1: FOREIGN}))
    down = snapshot(mirrored(), mirror(SYNCING))
    with pytest.raises(Rejected, match="is to be copied"):
        await examined(operation, check(down, AUTO), down)


async def test_what_is_made_anew_where_it_is_can_be_waited_for() -> None:
    cluster = snapshot(UP, mirror(), **running(ready(NODE2)))
    outcome, steps = await run(cluster, {**SAME, "wait_for_sync": True})
    assert kinds(steps)[-3:] == [MirrorAttach, MirrorWait, ReplicaMark]
    became = ReplicaBecame(disk=DISK.uuid, node=NODE2, state=IN_SYNC, only_from=SYNCING)
    assert outcome.mirrors == (became,)
