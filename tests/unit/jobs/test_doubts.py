"""No guest is started where another node may still run it, by whatever would start it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.fakes.agents import Call, Fault
from tests.fakes.cluster import FakeCluster, instance, instance_uuid, node_uuid
from tests.faults.situations import UP_SHARED, running_on_shared_disk

from gantry.model.jobs import Job, JobStatus
from gantry.model.live import NodeLive
from gantry.model.orders import GuestStart, GuestStop

FAILOVER: dict[str, Any] = {
    "OP_ID": "OP_INSTANCE_FAILOVER",
    "instance_name": "web1",
    "target_node": "node2",
}
START: dict[str, Any] = {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"}
WEB1 = instance_uuid(1)


@pytest.fixture
async def made() -> AsyncIterator[FakeCluster]:
    cluster = await FakeCluster.make([UP_SHARED, instance(2)])
    running_on_shared_disk(cluster)
    await cluster.start()
    await cluster.engine.settle()
    yield cluster
    assert cluster.world.twice == []
    await cluster.close()


def up(cluster: FakeCluster) -> list[int]:
    """On which nodes web1 is up, by number."""
    return [
        number
        for number in (1, 2, 3)
        if any(one.uuid == WEB1 and one.up for one in cluster.world.nodes[node_uuid(number)].live)
    ]


async def heard(cluster: FakeCluster, *, answers: bool) -> None:
    """Node 2 answers, or not, and supervision sees it."""
    node = cluster.world.nodes[node_uuid(2)]
    (cluster.agents.reconnect if answers else cluster.agents.disconnect)(node)
    live = NodeLive(
        reachable=answers, facts=node.facts(), guests={one.uuid: one for one in node.live}
    )
    cluster.engine.set_live(node.uuid, live)
    await cluster.engine.settle()


async def target_vanishes(cluster: FakeCluster) -> Job:
    """Node 2 starts web1, and is not heard of any more."""

    def fault(call: Call) -> Fault | None:
        there = isinstance(call.order, GuestStart) and call.node.uuid == node_uuid(2)
        return Fault.VANISHES if there else None

    cluster.agents.fault = fault
    job = await cluster.run(FAILOVER)
    cluster.agents.fault = lambda call: None
    await heard(cluster, answers=False)
    return job


async def test_the_old_node_starts_it_again_only_when_the_new_one_has_ended_it(
    made: FakeCluster,
) -> None:
    job = await target_vanishes(made)
    assert job.status is JobStatus.ERROR
    assert job.ops[0].error is not None
    assert "may still run on node node2.example.com" in job.ops[0].error.message
    assert up(made) == [2]
    assert made.engine.snapshot().doubtful == {(WEB1, node_uuid(2))}
    await heard(made, answers=True)
    assert up(made) == [1]
    assert made.engine.snapshot().doubtful == frozenset()
    assert await made.keys("debris/") == []


async def test_nobody_else_may_start_it_meanwhile_and_a_next_master_knows(
    made: FakeCluster,
) -> None:
    await target_vanishes(made)
    for _ in range(2):
        job = await made.run(START)
        assert job.status is JobStatus.ERROR
        assert job.ops[0].error is not None
        assert "may run on node node2.example.com" in job.ops[0].error.message
        assert "--offline=yes node2.example.com" in job.ops[0].error.hint
        await made.crash()
        await made.start()
        await made.engine.settle()
    assert up(made) == [2]


async def test_the_operators_word_that_the_node_is_off_ends_the_doubt(made: FakeCluster) -> None:
    await target_vanishes(made)
    node = made.world.nodes[node_uuid(2)]
    node.reboot()  # it is off
    offline = {
        "OP_ID": "OP_NODE_SET_PARAMS", "node_name": "node2", "offline": True, "powered_off": True,
    }  # fmt: skip
    assert (await made.run(offline)).status is JobStatus.SUCCESS
    assert (await made.run(START)).status is JobStatus.SUCCESS
    assert up(made) == [1]


async def test_an_agent_that_still_has_to_end_it_proves_nothing(made: FakeCluster) -> None:
    """What it says now an order that is under way may overtake."""
    await target_vanishes(made)

    def refuses(call: Call) -> Fault | None:
        return Fault.FAILS if isinstance(call.order, GuestStop) else None

    made.agents.fault = refuses
    await heard(made, answers=True)
    job = await made.run(START)
    assert job.status is JobStatus.ERROR
    made.agents.fault = lambda call: None
    await heard(made, answers=False)
    await heard(made, answers=True)
    assert up(made) == [1]
