"""Failover: where to, with what proof, what is done in which order, what hooks are told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
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

from gantry.model.entities import AdminState, Disk, DiskTemplate, Instance
from gantry.model.errors import Reason, Rejected
from gantry.model.live import NodeLive
from gantry.model.names import Uuid
from gantry.model.orders import GuestForget, GuestStart, GuestStop
from gantry.model.snapshot import Snapshot
from gantry.operations import registry
from gantry.ports.steps import Outcome

OP: dict[str, Any] = {"OP_ID": "OP_INSTANCE_FAILOVER", "instance_name": "web1"}
UP = web(admin_state=AdminState.UP)
RUNNING = {NODE1: live(guests=up())}
SILENT = {NODE1: NodeLive(reachable=False, problem="refused")}
OFFLINE = {NODE1: {"offline": True}}
DISK = Disk(
    uuid=Uuid("00000000-0000-4000-8000-000000000777"),
    size=128,
    template=DiskTemplate.FILE,
    path="/srv/ganeti/file-storage/web1/disk0",
)


def refused(cluster: Snapshot, **changes: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        check(cluster, {**OP, **changes})
    return caught.value


async def run(cluster: Snapshot, **changes: Any) -> tuple[Outcome, Written]:
    steps, op = Written(), {**OP, **changes}
    return await registry.load(op).run(check(cluster, op), steps), steps


def after(outcome: Outcome) -> Instance:
    [one] = outcome.put
    assert isinstance(one, Instance)
    return one


async def test_it_is_stopped_before_it_is_started_elsewhere() -> None:
    outcome, steps = await run(snapshot(UP, nodes=RUNNING), target_node="node2")
    (stop, where, order, undo), (start, there, begin, ended) = steps.done
    assert (stop, where, start, there) == ("stop-guest", NODE1, "start-guest", NODE2)
    assert isinstance(order, GuestStop)
    assert order.timeout == 120
    assert not order.force
    assert isinstance(undo, GuestStart)
    assert isinstance(begin, GuestStart)
    assert isinstance(ended, GuestStop)
    assert ended.force
    assert after(outcome).primary_node == NODE2
    assert after(outcome).admin_state is AdminState.UP
    [left] = outcome.cleanup
    assert (left.node, type(left.order)) == (NODE1, GuestForget)


async def test_one_that_is_down_is_not_started_yet_its_node_is_asked() -> None:
    outcome, steps = await run(snapshot(), target_node="node2")
    assert steps.names == ["stop-guest"]
    assert steps.done[0][3] is None
    assert after(outcome).primary_node == NODE2


async def test_from_an_offline_node_it_is_started_and_the_node_owes_its_end() -> None:
    cluster = snapshot(UP, nodes=SILENT, change=OFFLINE)
    outcome, steps = await run(cluster, target_node="node2")
    assert steps.names == ["start-guest"]
    assert "is marked offline" in steps.warnings[0]
    [left] = outcome.cleanup
    assert left.node == NODE1
    assert isinstance(left.order, GuestStop)
    assert left.order.force
    assert left.order.forget


def test_a_silent_node_is_no_dead_node() -> None:
    for changes in ({}, {"ignore_consistency": True}):
        error = refused(snapshot(UP, nodes=SILENT), target_node="node2", **changes)
        assert "nothing proves that its guest is dead" in error.message
        assert "gnt-node modify --offline=yes node1.example.com" in error.hint


def test_disks_of_one_node_alone_cannot_fail_over() -> None:
    one = web(disks=(DISK,), disk_template=DiskTemplate.FILE)
    error = refused(snapshot(one), target_node="node2")
    assert "gnt-instance move" in error.hint


async def test_without_a_target_it_is_the_node_with_the_most_free_memory_but_its_own() -> None:
    nodes = {
        NODE1: live(facts(memory_total=16384), up()),
        NODE2: live(facts(memory_total=2048)),
        NODE3: live(facts(memory_total=8192)),
    }
    outcome, _ = await run(snapshot(UP, nodes=nodes))
    assert after(outcome).primary_node == NODE3


@pytest.mark.parametrize(
    ("target", "change", "nodes", "said"),
    [
        ("node1", {}, {}, "is where instance web1.example.com is already"),
        ("node2", {NODE2: {"drained": True}}, {}, "is drained"),
        ("node2", {NODE2: {"vm_capable": False}}, {}, "is not vm_capable"),
        ("node2", {NODE2: {"offline": True}}, {}, "is marked offline"),
        ("node2", {}, {NODE2: NodeLive(reachable=False)}, "does not answer"),
        ("node2", {}, {NODE2: live(facts(hypervisors={}))}, "cannot run guests of hypervisor"),
        ("node2", {}, {NODE2: live(facts(memory_total=64))}, "needs 128 MiB of memory"),
        ("node9", {}, {}, "there is no node"),
    ],
)
def test_a_target_must_be_able(
    target: str, change: dict[Uuid, Any], nodes: dict[Uuid, Any], said: str
) -> None:
    error = refused(snapshot(UP, change=change, nodes={**RUNNING, **nodes}), target_node=target)
    assert said in error.message


def test_what_is_down_needs_no_memory() -> None:
    nodes = {NODE2: live(facts(memory_total=64))}
    assert check(snapshot(nodes=nodes), {**OP, "target_node": "node2"}).claims == ()


def test_it_is_not_started_while_another_node_may_run_it() -> None:
    doubt = msgspec.structs.replace(
        snapshot(UP, nodes=RUNNING), doubtful=frozenset({(WEB1, NODE3)})
    )
    error = refused(doubt, target_node="node2")
    assert "may run on node node3.example.com" in error.message
    assert error.reason is Reason.STATE


def test_an_allocator_and_wrong_times_are_refused() -> None:
    assert "no instance allocator 'hail'" in refused(snapshot(), iallocator="hail").message
    assert "0 to 86400" in refused(snapshot(), shutdown_timeout=-1).message


async def test_cleanup_writes_down_where_it_runs() -> None:
    cluster = snapshot(UP, nodes={NODE2: live(guests=up())})
    outcome, steps = await run(cluster, cleanup=True)
    assert steps.names == []
    assert after(outcome).primary_node == NODE2
    assert outcome.cleanup == ()


async def test_cleanup_leaves_a_record_that_is_right() -> None:
    for nodes in (RUNNING, {}):
        outcome, _ = await run(snapshot(UP, nodes=nodes), cleanup=True)
        assert outcome.put == ()


def test_cleanup_chooses_none_of_two_and_believes_no_silence() -> None:
    both = {NODE1: live(guests=up()), NODE2: live(guests=up())}
    error = refused(snapshot(UP, nodes=both), cleanup=True)
    assert "runs on several nodes: node1.example.com, node2.example.com" in error.message
    silent = {**SILENT, NODE2: live(guests=up())}
    assert "nothing proves" in refused(snapshot(UP, nodes=silent), cleanup=True).message
    local = web(admin_state=AdminState.UP, disks=(DISK,), disk_template=DiskTemplate.FILE)
    stray = {NODE2: live(guests=up())}
    assert "its disks are of node" in refused(snapshot(local, nodes=stray), cleanup=True).message


def test_hooks_are_told_where_from_and_where_to() -> None:
    cluster = snapshot(UP, nodes=RUNNING)
    operation = registry.load({**OP, "target_node": "node2"})
    plan = check(cluster, {**OP, "target_node": "node2"})
    before = operation.subject(plan, cluster)
    assert before is not None
    assert before.values["OLD_PRIMARY"] == "node1.example.com"
    assert before.values["NEW_PRIMARY"] == "node2.example.com"
    assert before.values["OLD_SECONDARY"] == before.values["NEW_SECONDARY"] == ""
    assert before.extra_nodes == (NODE2,)
    moved = cluster.with_changes(2, [msgspec.structs.replace(UP, primary_node=NODE2)])
    later = operation.subject(plan, moved)
    assert later is not None
    assert later.values["OLD_PRIMARY"] == later.values["NEW_PRIMARY"] == "node2.example.com"
