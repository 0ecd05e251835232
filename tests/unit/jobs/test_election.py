"""Epochs only rise, whatever the store has forgotten."""

from __future__ import annotations

import asyncio

import pytest
from tests.fakes.cluster import FakeCluster, node_uuid

from gantry.jobs import election
from gantry.jobs.election import Mastership
from gantry.model.errors import Superseded
from gantry.ports.store import Conflict


async def stand(cluster: FakeCluster) -> Mastership:
    nodes = [cluster.address(number) for number in (1, 2, 3)]
    return await election.stand(cluster.store, cluster.agents, cluster.clock, node_uuid(1), nodes)


async def test_every_master_has_a_higher_epoch() -> None:
    cluster = await FakeCluster.make()
    first = await stand(cluster)
    second = await stand(cluster)
    assert second.epoch > first.epoch
    with pytest.raises(Superseded):
        await cluster.agents.announce(cluster.address(2), first.epoch)
    await cluster.close()


async def test_the_epoch_is_above_what_any_node_that_answers_has_seen() -> None:
    cluster = await FakeCluster.make()
    await cluster.agents.announce(cluster.address(2), 1000)
    mastership = await stand(cluster)
    assert mastership.epoch >= 1000
    assert set(mastership.announced) == {node_uuid(1), node_uuid(2), node_uuid(3)}
    await cluster.close()


async def test_a_node_that_does_not_answer_keeps_nobody_from_being_master() -> None:
    cluster = await FakeCluster.make()
    cluster.agents.disconnect(cluster.world.nodes[node_uuid(3)])
    mastership = await stand(cluster)
    assert set(mastership.announced) == {node_uuid(1), node_uuid(2)}
    await cluster.close()


async def test_of_two_that_stand_at_once_one_wins() -> None:
    cluster = await FakeCluster.make()
    outcomes = await asyncio.gather(stand(cluster), stand(cluster), return_exceptions=True)
    winners = [one for one in outcomes if isinstance(one, Mastership)]
    assert winners
    item = await cluster.store.get("election")
    assert item is not None
    assert item.mod_revision == max(one.revision for one in winners)
    assert all(isinstance(one, Mastership | Conflict) for one in outcomes)
    await cluster.close()


async def test_a_master_that_an_agent_refuses_ends() -> None:
    cluster = await FakeCluster.make()
    engine = await cluster.start()
    await engine.settle()
    await cluster.agents.announce(cluster.address(2), 1000)
    await cluster.submit({"OP_ID": "OP_TEST_DELAY", "duration": 0, "on_nodes": ("node2",)})
    with pytest.raises(Exception, match="master no more"):
        await asyncio.wait_for(engine.failed(), 5)
    await cluster.close()
