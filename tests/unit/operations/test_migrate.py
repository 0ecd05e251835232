"""Live migration: who may, what is done in which order, and what becomes of it when it breaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from tests.fakes.agents import Call, Fault
from tests.fakes.cluster import FakeCluster, node_uuid
from tests.fakes.world import FakeGuest
from tests.faults.situations import (
    UP_SHARED,
    UP_WITH_DISK,
    running_on_shared_disk,
    running_with_disk,
)
from tests.unit.operations.scene import (
    NODE1,
    NODE2,
    check,
    facts,
    live,
    settings,
    snapshot,
    up,
    web,
)

from gantry.model.entities import AdminState, Disk, DiskMode, DiskTemplate
from gantry.model.errors import Rejected
from gantry.model.jobs import JobStatus
from gantry.model.live import GuestState, HypervisorFacts, NodeLive
from gantry.model.moving_orders import GuestResume, GuestSend
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot

OP: dict[str, Any] = {
    "OP_ID": "OP_INSTANCE_MIGRATE",
    "instance_name": "web1",
    "target_node": "node2",
}
UP = web(admin_state=AdminState.UP)
RUNNING = {NODE1: live(guests=up())}


def refused(cluster: Snapshot, **changes: Any) -> str:
    with pytest.raises(Rejected) as caught:
        check(cluster, {**OP, **changes})
    return f"{caught.value.message} ({caught.value.hint})"


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ({}, "is not running"),
        ({NODE1: live(guests=up(state=GuestState.PAUSED))}, "is paused"),
        ({NODE1: NodeLive(reachable=False, problem="refused")}, "does not answer"),
        ({**RUNNING, NODE2: live(facts(memory_total=64))}, "needs 128 MiB of memory"),
    ],
)
def test_only_what_runs_can_be_migrated(nodes: dict[Uuid, NodeLive], said: str) -> None:
    assert said in refused(snapshot(UP, nodes=nodes))


def test_what_does_not_run_is_failed_over_where_that_is_allowed() -> None:
    plan = check(snapshot(), {**OP, "allow_failover": True})
    assert plan.instead is not None
    assert plan.instead.target.uuid == NODE2


def test_a_guest_that_runs_is_migrated_also_where_failover_is_allowed() -> None:
    plan = check(snapshot(UP, nodes=RUNNING), {**OP, "allow_failover": True})
    assert plan.instead is None
    assert [claim.memory for claim in plan.claims] == [128]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, True), ({"mode": "non-live"}, False), ({"live": False}, False), ({"mode": "live"}, True)],
)
def test_how_it_is_sent(changes: dict[str, Any], expected: bool) -> None:
    assert check(snapshot(UP, nodes=RUNNING), {**OP, **changes}).live is expected


def test_how_it_is_sent_is_a_parameter_of_the_hypervisor() -> None:
    cluster = snapshot(UP, nodes=RUNNING)
    slow = settings(cluster, hvparams={"fake": {"migration_mode": "non-live"}})
    assert not check(cluster.with_changes(2, [slow]), OP).live


def test_an_emulated_guest_is_held_still_unless_somebody_insists() -> None:
    offer = HypervisorFacts(available=True, machine="fake-1.0", accelerator="tcg")
    nodes = {NODE1: live(facts(hypervisors={"fake": offer}), up())}
    cluster = snapshot(UP, nodes=nodes)
    plan = check(cluster, OP)
    assert (plan.live, plan.emulated) == (False, True)
    for insists in ({"mode": "live"}, {"live": True}):
        plan = check(cluster, {**OP, **insists})
        assert (plan.live, plan.emulated) == (True, False)
    plan = check(cluster, {**OP, "mode": "non-live"})
    assert (plan.live, plan.emulated) == (False, False)


def test_wrong_words_are_refused() -> None:
    cluster = snapshot(UP, nodes=RUNNING)
    assert "not both" in refused(cluster, mode="live", live=True)
    assert "live or non-live" in refused(cluster, mode="quickly")
    assert "the deadline is 1 to" in refused(cluster, deadline=0)
    assert "no instance allocator" in refused(cluster, iallocator="hail")


def test_a_read_only_disk_of_one_node_stays() -> None:
    disk = Disk(
        uuid=Uuid("00000000-0000-4000-8000-000000000777"),
        size=128,
        template=DiskTemplate.FILE,
        path="/srv/ganeti/file-storage/web1/disk0",
        mode=DiskMode.READ_ONLY,
    )
    one = web(admin_state=AdminState.UP, disks=(disk,), disk_template=DiskTemplate.FILE)
    assert "gnt-instance move" in refused(snapshot(one, nodes=RUNNING))
    writable = msgspec.structs.replace(one, disks=(msgspec.structs.replace(disk, mode="rw"),))
    plan = check(snapshot(writable, nodes=RUNNING), OP)
    assert plan.disks == (0,)
    assert [claim.disk for claim in plan.claims] == [128]
    full = {**RUNNING, NODE2: live(facts(disk_free=100))}
    assert "needs 128 MiB of disk" in refused(snapshot(writable, nodes=full))


@pytest.fixture
async def made() -> AsyncIterator[FakeCluster]:
    cluster = await FakeCluster.make([UP_SHARED])
    running_on_shared_disk(cluster)
    await cluster.start()
    await cluster.engine.settle()
    yield cluster
    assert cluster.world.twice == []
    await cluster.close()


def states(cluster: FakeCluster) -> list[str]:
    """Of web1, by node, where it is up."""
    return [
        f"{number}: {guest.state}"
        for number in (1, 2, 3)
        for guest in cluster.world.nodes[node_uuid(number)].live
        if guest.up
    ]


def state_of(guest: FakeGuest) -> str:
    return guest.live.state.value


async def test_one_that_never_ran_on_the_target_goes_on_as_it_was(made: FakeCluster) -> None:
    """Not stopped and started: it is the same guest, which had been held still."""
    made.world.nodes[node_uuid(2)].moving.lost_in_transit.add("web1.example.com")
    before = made.world.nodes[node_uuid(1)].guests[UP_SHARED.uuid]
    job = await made.run(OP)
    await made.engine.settle()
    assert job.status is JobStatus.ERROR
    assert job.ops[0].error is not None
    assert "not received whole" in job.ops[0].error.message
    assert states(made) == ["1: running"]
    assert made.world.nodes[node_uuid(1)].guests[UP_SHARED.uuid] is before
    assert made.engine.snapshot().instances[UP_SHARED.uuid].primary_node == node_uuid(1)
    assert await made.keys("debris/", "journal/") == []


async def test_one_that_may_have_run_on_the_target_is_started_anew(made: FakeCluster) -> None:
    """Its memory is older than its disks by then."""
    before = made.world.nodes[node_uuid(1)].guests[UP_SHARED.uuid]
    made.agents.fault = lambda call: (
        Fault.ANSWER_LOST if isinstance(call.order, GuestResume) else None
    )
    job = await made.run(OP)
    await made.engine.settle()
    assert job.status is JobStatus.ERROR
    assert states(made) == ["1: running"]
    assert made.world.nodes[node_uuid(1)].guests[UP_SHARED.uuid] is not before


async def test_where_the_source_cannot_be_told_it_does_not_go_on_with_old_memory(
    made: FakeCluster,
) -> None:
    """It was to be ended since the target's may have run; when it is back it is, and only then
    is the instance started.
    """
    source = made.world.nodes[node_uuid(1)]
    before = source.guests[UP_SHARED.uuid]

    def fault(call: Call) -> Fault | None:
        if isinstance(call.order, GuestResume):
            made.agents.disconnect(source)
            return Fault.ANSWER_LOST
        return None

    made.agents.fault = fault
    job = await made.run(OP)
    made.agents.fault = lambda call: None
    assert job.status is JobStatus.ERROR
    assert state_of(before) == "paused"
    seen: list[str] = []
    source.listen(lambda event: seen.append(state_of(before)))
    made.agents.reconnect(source)
    await made.crash()
    await made.start()
    await made.engine.settle()
    assert state_of(before) == "stopped"
    assert seen
    assert "running" not in seen
    assert states(made) == ["1: running"]
    assert source.guests[UP_SHARED.uuid] is not before
    assert await made.keys("debris/", "journal/") == []


async def test_a_late_taking_back_is_dropped_once_it_runs_elsewhere(made: FakeCluster) -> None:
    source = made.world.nodes[node_uuid(1)]

    def fault(call: Call) -> Fault | None:
        if isinstance(call.order, GuestSend):
            return Fault.VANISHES
        return None

    made.agents.fault = fault
    job = await made.run(OP)
    made.agents.fault = lambda call: None
    assert job.status is JobStatus.ERROR
    live_now = NodeLive(reachable=False, problem="gone")
    made.engine.set_live(node_uuid(1), live_now)
    offline = {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": "node1", "offline": True}
    # The master is on node 1 here, which only matters to the operation that marks it.
    assert (await made.run(offline)).status is JobStatus.ERROR
    node = made.engine.snapshot().nodes[node_uuid(1)]
    await made.engine.change([msgspec.structs.replace(node, offline=True)])
    moved = await made.run({**OP, "OP_ID": "OP_INSTANCE_FAILOVER"})
    assert moved.status is JobStatus.SUCCESS, moved.ops[0].error
    assert states(made) == ["1: paused", "2: running"]
    await made.engine.change([msgspec.structs.replace(node, offline=False)])
    made.agents.reconnect(source)
    await made.crash()
    await made.start()
    await made.engine.settle()
    assert states(made) == ["2: running"]
    assert await made.keys("debris/", "journal/") == []


async def test_where_it_cannot_be_sent_it_goes_on_as_it_was(made: FakeCluster) -> None:
    asked: list[Call] = []

    def fault(call: Call) -> Fault | None:
        if isinstance(call.order, GuestSend):
            asked.append(call)
            return Fault.FAILS
        return None

    made.agents.fault = fault
    before = made.world.nodes[node_uuid(1)].guests[UP_SHARED.uuid]
    job = await made.run(OP)
    await made.engine.settle()
    assert asked
    assert job.status is JobStatus.ERROR
    assert states(made) == ["1: running"]
    assert made.world.nodes[node_uuid(1)].guests[UP_SHARED.uuid] is before


async def test_local_disks_go_with_it_and_the_old_ones_are_removed_last() -> None:
    cluster = await FakeCluster.make([UP_WITH_DISK])
    running_with_disk(cluster)
    await cluster.start()
    job = await cluster.run(OP)
    await cluster.engine.settle()
    assert job.status is JobStatus.SUCCESS, job.ops[0].error
    [path] = [disk.path for disk in UP_WITH_DISK.disks]
    assert cluster.world.nodes[node_uuid(2)].disks[path].content == "kept"
    assert cluster.world.nodes[node_uuid(1)].disks == {}
    assert states(cluster) == ["2: running"]
    kinds = [type(call.order).__name__ for call in cluster.agents.calls]
    assert kinds.index("GuestResume") < kinds.index("DiskRemove")
    await cluster.close()
