"""Only the newest master is obeyed, and only while its lease runs."""

from __future__ import annotations

import asyncio

import pytest
from tests.contract.agents.harness import Harness
from tests.contract.agents.requests import begun, disk, envelope, guest, start

from gantry.model.errors import Superseded, TooLate
from gantry.model.orders import Delay, DiskCreate, ReadFacts


async def test_a_new_master_learns_the_highest_epoch_and_what_runs(harness: Harness) -> None:
    spec = guest()
    await harness.agents.order(harness.address, envelope("j/a", epoch=4), start(spec))
    announced = await harness.agents.announce(harness.address, 6)
    assert (announced.epoch, announced.job) == (4, 7)
    assert [(live.uuid, live.up) for live in announced.guests] == [(spec.uuid, True)]
    assert (await harness.agents.announce(harness.address, 6)).epoch == 6


async def test_everything_from_an_older_master_is_refused_with_the_known_epoch(
    harness: Harness,
) -> None:
    one = disk()
    await harness.agents.announce(harness.address, 5)
    with pytest.raises(Superseded, match="5"):
        await harness.agents.order(
            harness.address, envelope("j/make", epoch=4), DiskCreate(disk=one)
        )
    with pytest.raises(Superseded):
        await harness.agents.announce(harness.address, 4)
    with pytest.raises(Superseded):
        await harness.agents.cancel(harness.address, "j/make", 4)
    with pytest.raises(Superseded):
        await harness.agents.forget(harness.address, ["j/"], 4)
    assert not harness.disk_is_there(one.path)
    await harness.agents.order(harness.address, envelope("j/make", epoch=5), DiskCreate(disk=one))
    assert harness.disk_is_there(one.path)


async def test_what_waits_when_a_new_master_comes_is_not_done_for_the_old_one(
    harness: Harness,
) -> None:
    one = disk()
    slow = await begun(harness, "j/slow", 0.4)
    waiting = asyncio.ensure_future(
        harness.agents.order(harness.address, envelope("j/make"), DiskCreate(disk=one))
    )
    await harness.agents.announce(harness.address, 2)
    with pytest.raises(Superseded):
        await waiting
    await slow
    assert not harness.disk_is_there(one.path)
    await harness.agents.order(harness.address, envelope("j/make", epoch=2), DiskCreate(disk=one))
    assert harness.disk_is_there(one.path)


async def test_an_order_that_comes_after_its_time_is_refused_and_not_remembered(
    harness: Harness,
) -> None:
    one = disk()
    with pytest.raises(TooLate):
        await harness.agents.order(
            harness.address, envelope("j/make", lease=-0.1), DiskCreate(disk=one)
        )
    assert not harness.disk_is_there(one.path)
    await harness.agents.order(harness.address, envelope("j/make"), DiskCreate(disk=one))


async def test_an_order_whose_time_ends_while_it_waits_for_its_turn_is_not_done(
    harness: Harness,
) -> None:
    one = disk()
    slow = await begun(harness, "j/slow", 0.6, lease=0.3)
    with pytest.raises(TooLate):
        await harness.agents.order(
            harness.address, envelope("j/make", lease=0.3), DiskCreate(disk=one)
        )
    await slow
    assert not harness.disk_is_there(one.path)
    await harness.agents.order(harness.address, envelope("j/make"), DiskCreate(disk=one))


async def test_later_orders_of_the_same_master_give_one_that_waits_more_time(
    harness: Harness,
) -> None:
    one = disk()
    slow = await begun(harness, "j/slow", 0.6, lease=0.3)
    waiting = asyncio.ensure_future(
        harness.agents.order(harness.address, envelope("j/make", lease=0.3), DiskCreate(disk=one))
    )
    await harness.agents.order(harness.address, envelope("k/other"), Delay(duration=0.0))
    await asyncio.gather(slow, waiting)
    assert harness.disk_is_there(one.path)


async def test_an_epoch_is_one_nodes_master_and_the_agent_says_whose(harness: Harness) -> None:
    await harness.agents.announce(harness.address, 3)
    other = harness.another_master()
    with pytest.raises(Superseded, match="3"):
        await other.announce(harness.address, 3)
    before = await other.announce(harness.address, 4)
    assert (before.epoch, before.node) == (3, harness.master)
    assert (await other.announce(harness.address, 4)).epoch == 4
    with pytest.raises(Superseded):
        await harness.agents.order(harness.address, envelope("j/a", epoch=3), Delay(duration=0.0))


async def test_questions_are_answered_to_any_master(harness: Harness) -> None:
    await harness.agents.announce(harness.address, 9)
    facts = await harness.agents.ask(harness.address, ReadFacts(), 5.0)
    assert facts.memory_total > 0
