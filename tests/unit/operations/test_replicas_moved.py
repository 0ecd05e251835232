"""Replicas that are promoted, mirrored anew, added and taken away."""

from __future__ import annotations

from typing import Any

import msgspec
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
from tests.unit.operations.scene import (
    NODE1,
    NODE2,
    NODE3,
    WEB1,
    check,
    facts,
    live,
    snapshot,
    up,
    web,
)
from tests.unit.operations.steps import Written

from gantry.model.entities import AdminState, Instance, ReplicaState
from gantry.model.errors import OperationFailed, Rejected, Unavailable
from gantry.model.live import MirrorLive, MirrorPhase, NodeLive
from gantry.model.names import Uuid
from gantry.model.orders import GuestStart
from gantry.model.replica_orders import (
    MirrorAttach,
    MirrorRelease,
    ReplicaClose,
    ReplicaMark,
    ReplicaSeen,
    ReplicaServe,
    ReplicasSeen,
)
from gantry.model.replicas import all_changed
from gantry.model.snapshot import Snapshot
from gantry.operations import registry
from gantry.ports.steps import Outcome

FAILOVER: dict[str, Any] = {"OP_ID": "OP_INSTANCE_FAILOVER", "instance_name": "web1"}
SYNC: dict[str, Any] = {"OP_ID": "OP_INSTANCE_SYNC_DISKS", "instance_name": "web1"}
UP = mirrored(admin_state=AdminState.UP)
GONE = NodeLive(reachable=False, problem="gone")
CLEAN = ReplicaSeen(disk=DISK.uuid, there=True, generation=1, state=IN_SYNC, clean=True)
UNCLEAN = msgspec.structs.replace(CLEAN, clean=False)
OFF: dict[str, Any] = {"nodes": {NODE1: GONE}, "change": {NODE1: {"offline": True}}}


def running(*mirrors: MirrorLive) -> dict[str, Any]:
    """Node 1 runs web1, and says this of its mirrors."""
    [guest] = up().values()
    told = msgspec.structs.replace(guest, mirrors=mirrors)
    return {"nodes": {NODE1: live(guests={WEB1: told})}}


def ready(node: Uuid) -> MirrorLive:
    return MirrorLive(disk=DISK.uuid, node=node, phase=MirrorPhase.READY)


async def run(
    cluster: Snapshot, op: dict[str, Any], steps: Written | None = None, asked: Asked | None = None
) -> tuple[Outcome, Written]:
    steps = steps or Written()
    operation = registry.load(op)
    plan = await examined(operation, check(cluster, op), cluster, asked)
    return await operation.run(plan, steps), steps


def stopped(seen: ReplicaSeen) -> Written:
    return Written(answers={"look-at-replicas": ReplicasSeen(replicas=(seen,))})


def after(cluster: Snapshot, steps: Written, name: str) -> dict[Uuid, ReplicaState]:
    """The states once all that stands before the effect ``name`` is in the store."""
    mirrors = dict(cluster.mirrors)
    for effect in steps.names:
        if (first := steps.firsts.get(effect)) is not None:
            mirrors |= {one.uuid: one for one in all_changed(mirrors, first.mirrors)}
        if effect == name:
            break
    return {node: one.state for node, one in mirrors[DISK.uuid].replicas.items()}


def guest(steps: Written) -> Any:
    [order] = [order for _, _, order, _ in steps.done if isinstance(order, GuestStart)]
    return order.spec


# Failover


async def test_an_orderly_failover_keeps_all_replicas_in_sync() -> None:
    nodes = running(ready(NODE2), ready(NODE3))
    cluster = snapshot(UP, mirror(IN_SYNC, IN_SYNC), **nodes)
    outcome, steps = await run(cluster, FAILOVER, stopped(CLEAN))
    assert steps.names == [
        "stop-guest",
        "look-at-replicas",
        "close-replica/0",
        "mark-replica/0",
        "mark-replica/0/node1.example.com",
        "close-replica/0/node3.example.com",
        "mark-replica/0/node3.example.com",
        "serve-replica/0/node1.example.com",
        "serve-replica/0/node3.example.com",
        "start-guest",
    ]
    [moved] = steps.firsts["mark-replica/0"].put
    assert isinstance(moved, Instance)
    assert (moved.primary_node, moved.disks[0].generation) == (NODE2, 2)
    assert set(moved.secondary_nodes) == {NODE1}
    # Nothing is called in sync before its node has written down the new generation.
    assert after(cluster, steps, "mark-replica/0") == {
        NODE1: STALE,
        NODE2: IN_SYNC,
        NODE3: SYNCING,
    }
    assert after(cluster, steps, "start-guest") == dict.fromkeys((NODE1, NODE2, NODE3), IN_SYNC)
    spec = guest(steps).disks[0]
    assert spec.generation == 2
    assert {(one.node, one.full) for one in spec.targets} == {(NODE1, False), (NODE3, False)}
    assert outcome.mirrors == ()


async def test_a_dead_primary_is_left_behind_and_the_others_are_copied_anew() -> None:
    cluster = snapshot(UP, mirror(IN_SYNC, IN_SYNC), **OFF)
    _, steps = await run(cluster, {**FAILOVER, "target_node": "node2"})
    assert steps.names == [
        "close-replica/0",
        "mark-replica/0",
        "close-replica/0/node3.example.com",
        "serve-replica/0/node3.example.com",
        "start-guest",
    ]
    assert after(cluster, steps, "start-guest") == {NODE1: STALE, NODE2: IN_SYNC, NODE3: SYNCING}
    [target] = guest(steps).disks[0].targets
    assert (target.node, target.full) == (NODE3, True)
    assert "marked offline" in steps.warnings[0]


async def test_the_export_is_closed_before_the_new_generation_stands() -> None:
    _, steps = await run(snapshot(UP, mirror(), **OFF), FAILOVER)
    kinds = [type(order) for _, _, order, _ in steps.done]
    assert kinds[:2] == [ReplicaClose, ReplicaMark]
    assert "close-replica/0" not in steps.firsts
    mark = steps.done[1][2]
    assert isinstance(mark, ReplicaMark)
    assert (mark.disk.generation, mark.generation, mark.force) == (2, 1, False)


async def test_an_export_that_cannot_be_closed_stops_it() -> None:
    steps = Written({"close-replica/0": Unavailable("gone")})
    with pytest.raises(Unavailable):
        await run(snapshot(UP, mirror(), **OFF), FAILOVER, steps)
    assert steps.names == ["close-replica/0"]


async def test_a_primary_that_was_not_closed_in_order_is_left_behind() -> None:
    cluster = snapshot(UP, mirror(), **running(ready(NODE2)))
    _, steps = await run(cluster, FAILOVER, stopped(UNCLEAN))
    assert after(cluster, steps, "start-guest") == {NODE1: STALE, NODE2: IN_SYNC}
    failing = Written({"look-at-replicas": OperationFailed("no")})
    _, steps = await run(cluster, FAILOVER, failing)
    assert after(cluster, steps, "start-guest") == {NODE1: STALE, NODE2: IN_SYNC}


async def test_a_replica_that_does_not_take_the_generation_is_copied_anew() -> None:
    cluster = snapshot(UP, mirror(), **running(ready(NODE2)))
    steps = Written(
        {"mark-replica/0/node1.example.com": Unavailable("gone")},
        answers={"look-at-replicas": ReplicasSeen(replicas=(CLEAN,))},
    )
    await run(cluster, FAILOVER, steps)
    assert after(cluster, steps, "start-guest") == {NODE1: STALE, NODE2: IN_SYNC}
    assert guest(steps).disks[0].targets == ()


async def test_one_that_is_down_stays_down_and_its_states_come_with_the_end() -> None:
    cluster = snapshot(mirrored(), mirror())
    outcome, steps = await run(cluster, FAILOVER, stopped(CLEAN))
    assert "start-guest" not in steps.names
    assert [(one.node, one.state) for one in outcome.mirrors] == [(NODE1, IN_SYNC)]  # type: ignore[union-attr]


@pytest.mark.parametrize("state", [STALE, SYNCING])
def test_what_is_not_in_sync_is_never_promoted(state: ReplicaState) -> None:
    for op in (FAILOVER, {**FAILOVER, "target_node": "node2"}):
        with pytest.raises(Rejected, match=f"{state}") as caught:
            check(snapshot(UP, mirror(state), **OFF), op)
        assert "--ignore-consistency" in caught.value.hint


async def test_but_where_that_is_to_be_ignored_and_then_it_says_what_may_be_lost() -> None:
    cluster = snapshot(UP, mirror(STALE, SYNCING), **OFF)
    op = {**FAILOVER, "target_node": "node2", "ignore_consistency": True}
    _, steps = await run(cluster, op)
    assert "what was written since it fell behind is lost" in " ".join(steps.warnings)
    mark = next(order for _, _, order, _ in steps.done if isinstance(order, ReplicaMark))
    assert mark.force
    assert after(cluster, steps, "start-guest") == {NODE1: STALE, NODE2: IN_SYNC, NODE3: STALE}
    assert guest(steps).disks[0].targets == ()


def test_another_node_that_is_in_sync_is_named_where_there_is_one() -> None:
    cluster = snapshot(mirrored(secondary_nodes=(NODE2, NODE3)), mirror(STALE, IN_SYNC))
    with pytest.raises(Rejected) as caught:
        check(cluster, {**FAILOVER, "target_node": "node2"})
    assert "node3.example.com" in caught.value.hint


def test_the_node_in_sync_with_the_most_free_memory_is_taken() -> None:
    three = mirrored(secondary_nodes=(NODE2, NODE3))
    small = {NODE3: live(facts(memory_total=1024))}
    assert check(snapshot(three, mirror(IN_SYNC, IN_SYNC), nodes=small), FAILOVER).target.uuid == (
        NODE2
    )
    assert check(snapshot(three, mirror(STALE, IN_SYNC), nodes=small), FAILOVER).target.uuid == (
        NODE3
    )


@pytest.mark.parametrize(("target", "why"), [("node3", "has no replicas"), ("node1", "is already")])
def test_only_a_node_with_a_replica_can_take_it(target: str, why: str) -> None:
    with pytest.raises(Rejected, match=why):
        check(snapshot(UP, mirror()), {**FAILOVER, "target_node": target})


def test_nothing_is_promoted_without_proof_that_the_guest_is_dead() -> None:
    with pytest.raises(Rejected, match="nothing proves"):
        check(snapshot(UP, mirror(), nodes={NODE1: GONE}), FAILOVER)


async def test_a_replica_that_its_node_finds_foreign_is_not_promoted() -> None:
    foreign = msgspec.structs.replace(CLEAN, problem="somebody else has written to it")
    steps = Written()
    with pytest.raises(Rejected, match="somebody else"):
        await run(snapshot(UP, mirror(), **OFF), FAILOVER, steps, Asked({NODE2: foreign}))
    assert steps.done == []


# Mirrored anew


async def test_a_stale_replica_is_syncing_before_it_is_overwritten() -> None:
    cluster = snapshot(UP, mirror(STALE, IN_SYNC), **running(ready(NODE3)))
    _, steps = await run(cluster, SYNC)
    assert steps.names == [
        "close-replica/0/node2.example.com",
        "serve-replica/0/node2.example.com",
        "attach-mirror/0/node2.example.com",
    ]
    assert after(cluster, steps, steps.names[1])[NODE2] is SYNCING
    serve, attach = steps.done[1][2], steps.done[2][2]
    assert isinstance(serve, ReplicaServe) and serve.overwrite
    assert isinstance(attach, MirrorAttach) and attach.target.full
    assert isinstance(steps.done[2][3], MirrorRelease) and not steps.done[2][3].forget


@pytest.mark.parametrize("at", ["serve-replica", "attach-mirror"])
async def test_one_that_cannot_be_is_stale_again_and_that_is_an_error(at: str) -> None:
    cluster = snapshot(UP, mirror(STALE), **running())
    steps = Written({f"{at}/0/node2.example.com": OperationFailed("no")})
    outcome, _ = await run(cluster, SYNC, steps)
    assert outcome.error is not None
    [change] = outcome.mirrors
    assert change.state is STALE  # type: ignore[union-attr]


async def test_a_node_that_is_away_does_not_keep_others_from_it() -> None:
    both = snapshot(UP, mirror(STALE, STALE), **running())
    cluster = msgspec.structs.replace(both, live={**both.live, NODE2: GONE})
    outcome, steps = await run(cluster, SYNC)
    assert outcome.error is None
    kinds = [name.partition("/")[0] for name in steps.names]
    assert kinds == ["close-replica", "serve-replica", "attach-mirror"]


async def test_one_that_may_still_run_its_guest_is_not_overwritten() -> None:
    [guest] = up().values()
    twice = running()
    twice["nodes"][NODE2] = live(guests={WEB1: guest})
    _, steps = await run(snapshot(UP, mirror(STALE), **twice), SYNC)
    assert steps.done == []


async def test_where_all_is_well_nothing_is_done() -> None:
    outcome, steps = await run(snapshot(UP, mirror(), **running(ready(NODE2))), SYNC)
    assert steps.done == [] and outcome.error is None


def test_what_is_not_mirrored_or_does_not_run_has_nothing_to_copy() -> None:
    with pytest.raises(Rejected, match="has no replicas"):
        check(snapshot(web(1)), SYNC)
    with pytest.raises(Rejected, match="not running"):
        check(snapshot(mirrored(), mirror(STALE)), SYNC)
