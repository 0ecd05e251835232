"""Epochs only rise, whatever the store has forgotten."""

from __future__ import annotations

import asyncio

import pytest
from tests.fakes.agents import FakeAgents
from tests.fakes.cluster import FakeCluster, node_uuid

from gantry.jobs import election
from gantry.jobs.election import Mastership
from gantry.jobs.lease import LeaseKeeper
from gantry.jobs.queue import Engine
from gantry.jobs.sure_agents import SureAgents
from gantry.model.errors import Superseded, Unavailable
from gantry.model.jobs import JobStatus, Submission
from gantry.model.master_orders import MasterSeen
from gantry.model.names import Uuid
from gantry.ports.agents import Address, Announced
from gantry.ports.store import Conflict, Put


async def stand(cluster: FakeCluster) -> Mastership:
    nodes = [cluster.address(number) for number in (1, 2, 3)]
    return await election.stand(cluster.store, cluster.agents, cluster.clock, node_uuid(1), nodes)


async def leased(cluster: FakeCluster) -> LeaseKeeper:
    return await LeaseKeeper.grant(cluster.store, 60.0, cluster.clock)


async def test_every_master_has_a_higher_epoch() -> None:
    cluster = await FakeCluster.make()
    first = await stand(cluster)
    second = await stand(cluster)
    assert second.epoch > first.epoch
    with pytest.raises(Superseded):
        await cluster.agents.announce(cluster.address(2), first.epoch)
    await cluster.close()


async def test_the_epoch_outlives_the_election_key() -> None:
    cluster = await FakeCluster.make()
    keeper = await leased(cluster)
    first = await election.win(cluster.store, cluster.clock, node_uuid(1), keeper)
    await keeper.give_up()
    assert await cluster.store.get("election") is None
    second = await election.win(cluster.store, cluster.clock, node_uuid(2), await leased(cluster))
    assert second.epoch == first.epoch + 1
    await cluster.close()


async def test_a_state_of_before_the_epoch_had_its_own_key_goes_on() -> None:
    cluster = await FakeCluster.make()
    old = Put("election", b'{"epoch":41,"node":"n","since":0,"v":1}')
    await cluster.store.txn([], [old])
    assert (await stand(cluster)).epoch == 42
    item = await cluster.store.get("master/epoch")
    assert item is not None
    assert b'"epoch":42' in item.value
    await cluster.close()


async def test_a_leased_key_is_taken_from_nobody_but_an_earlier_process_of_the_node() -> None:
    cluster = await FakeCluster.make()
    first = await election.win(cluster.store, cluster.clock, node_uuid(1), await leased(cluster))
    with pytest.raises(Conflict):
        await election.win(cluster.store, cluster.clock, node_uuid(2), await leased(cluster))
    again = await election.win(cluster.store, cluster.clock, node_uuid(1), await leased(cluster))
    assert again.epoch == first.epoch + 1
    await cluster.close()


async def test_only_who_was_elected_is_followed_by_another_by_itself() -> None:
    cluster = await FakeCluster.make()
    assert not (await stand(cluster)).elected
    nodes = [cluster.address(1)]
    parts = cluster.store, cluster.agents, cluster.clock, node_uuid(1), nodes
    assert (await election.stand(*parts, keeper=await leased(cluster))).elected
    await cluster.close()


async def test_an_engine_whose_lease_is_over_writes_and_orders_nothing() -> None:
    cluster = await FakeCluster.make()
    left = 1.0
    engine = await cluster.start(lease_left=lambda: left)
    await engine.settle()
    left = 0.0
    calls, before = len(cluster.agents.calls), await cluster.keys()
    with pytest.raises(Unavailable):
        await cluster.submit({"OP_ID": "OP_TEST_DELAY", "duration": 0, "on_nodes": ("node2",)})
    with pytest.raises(Unavailable, match="lease"):
        await asyncio.wait_for(engine.failed(), 5)
    assert (len(cluster.agents.calls), await cluster.keys()) == (calls, before)
    await cluster.close()


def test_only_a_higher_epoch_of_another_node_replaces() -> None:
    here, other = node_uuid(1), node_uuid(2)

    def seen(*known: tuple[int, Uuid | None]) -> dict[Uuid, MasterSeen]:
        return {
            node_uuid(number): MasterSeen(epoch=epoch, node=node)
            for number, (epoch, node) in enumerate(known, 1)
        }

    assert election.replaced_by(here, 5, seen((9, here), (5, other), (7, None))) is None
    assert election.replaced_by(here, 5, seen((9, here), (6, other))) == (6, other)


async def test_who_was_replaced_and_hears_it_late_does_not_take_the_mastership_back() -> None:
    cluster = await FakeCluster.make()
    here, nodes = node_uuid(1), [cluster.address(number) for number in (1, 2)]
    knew = (await stand(cluster)).epoch
    # Node 2 became the master out of a copy; its agent was too slow to say so when it was asked.
    later = cluster.agents.seen_from(node_uuid(2))
    for epoch in (knew + 1, knew + election.LEAP):
        await later.announce(cluster.address(2), epoch)
        won = await election.win(cluster.store, cluster.clock, here)
        with pytest.raises(election.Replaced) as told:
            parts = cluster.store, cluster.agents, cluster.clock, won, nodes
            await election.proclaim(*parts, knew=knew)
        assert (told.value.epoch, told.value.node) == (epoch, node_uuid(2))
        seen = await election.ask_all(cluster.agents, nodes)
        assert (seen[node_uuid(2)].epoch, seen[node_uuid(2)].node) == (epoch, node_uuid(2))
    await cluster.close()


async def test_the_epoch_is_above_what_any_node_that_answers_has_seen() -> None:
    cluster = await FakeCluster.make()
    await cluster.agents.announce(cluster.address(2), 1000)
    mastership = await stand(cluster)
    assert mastership.epoch == 1001
    assert set(mastership.announced) == {node_uuid(1), node_uuid(2), node_uuid(3)}
    await cluster.close()


async def test_a_node_that_does_not_answer_keeps_nobody_from_being_master() -> None:
    cluster = await FakeCluster.make()
    cluster.agents.disconnect(cluster.world.nodes[node_uuid(3)])
    mastership = await stand(cluster)
    assert set(mastership.announced) == {node_uuid(1), node_uuid(2)}
    await cluster.close()


@pytest.mark.parametrize("claim", [election.CREDIBLE + 10, 2**62])
async def test_a_node_that_claims_what_cannot_be_is_passed_over(claim: int) -> None:
    cluster = await FakeCluster.make()
    await cluster.agents.announce(cluster.address(2), claim)
    mastership = await stand(cluster)
    assert mastership.epoch <= election.REFUSALS + 1
    assert set(mastership.announced) == {node_uuid(1), node_uuid(3)}
    await cluster.close()


class OneLies(FakeAgents):
    """Node 2 has always heard of a master after this one."""

    async def announce(self, to: Address, epoch: int) -> Announced:
        if to.node == node_uuid(2):
            raise self._superseded(self.world.nodes[to.node], epoch, epoch + 1)
        return await super().announce(to, epoch)


async def test_a_node_that_always_knows_a_later_master_is_passed_over() -> None:
    cluster = await FakeCluster.make()
    cluster.agents.__class__ = OneLies
    async with asyncio.timeout(100):
        mastership = await stand(cluster)
    assert set(mastership.announced) == {node_uuid(1), node_uuid(3)}
    assert mastership.epoch <= election.REFUSALS + 1
    await cluster.close()


async def test_who_was_elected_believes_the_store_and_not_an_agent() -> None:
    cluster = await FakeCluster.make()
    nodes = [cluster.address(number) for number in (1, 2, 3)]
    parts = cluster.store, cluster.agents, cluster.clock, node_uuid(1), nodes
    mastership = await election.stand(*parts, keeper=await leased(cluster))
    sure = SureAgents(cluster.agents, cluster.store, mastership.revision)
    await cluster.agents.announce(cluster.address(2), mastership.epoch + 5)
    for call in (
        lambda: sure.announce(cluster.address(2), mastership.epoch),
        lambda: sure.cancel(cluster.address(2), "a/0/b", mastership.epoch),
        lambda: sure.forget(cluster.address(2), ["a/"], mastership.epoch),
    ):
        with pytest.raises(Unavailable, match="refuses this master"):
            await call()
    assert (await sure.announce(cluster.address(3), mastership.epoch)).epoch == mastership.epoch
    # Another process has won now.
    await election.win(cluster.store, cluster.clock, node_uuid(1), await leased(cluster))
    with pytest.raises(Superseded):
        await sure.announce(cluster.address(2), mastership.epoch)
    await cluster.close()


async def test_an_elected_master_goes_on_without_a_node_that_lies() -> None:
    cluster = await FakeCluster.make()
    nodes = [cluster.address(number) for number in (1, 2, 3)]
    parts = cluster.store, cluster.agents, cluster.clock, node_uuid(1), nodes
    mastership = await election.stand(*parts, keeper=await leased(cluster))
    sure = SureAgents(cluster.agents, cluster.store, mastership.revision)
    await cluster.agents.announce(cluster.address(2), mastership.epoch + 5)
    engine = await Engine.open(cluster.store, sure, cluster.clock, mastership, cluster.history)
    await engine.start()
    wishes = [
        Submission(
            ops=({"OP_ID": "OP_TEST_DELAY", "duration": 0, "on_nodes": (node,)},),
            request_id=node,
            requester="root",
        )
        for node in ("node2", "node3")
    ]
    lying, well = [await engine.submit(one) for one in wishes]
    assert (await engine.wait(well)).status is JobStatus.SUCCESS
    assert (await engine.wait(lying)).status is JobStatus.ERROR
    assert not engine._journal.failed.done()
    await engine.stop()
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
