"""A key is one effect for ever."""

from __future__ import annotations

import asyncio
import time

import pytest
from tests.contract.agents.harness import Harness
from tests.contract.agents.requests import begun, disk, envelope, guest, hooks, start, stop

from gantry.model.errors import Cancelled, OperationFailed, Rejected
from gantry.model.orders import Delay, DiskCreate, DiskRemove, Nothing, ReadGuests


async def test_the_same_key_again_gives_the_same_answer_and_does_nothing(harness: Harness) -> None:
    spec = guest()
    first = await harness.agents.order(harness.address, envelope("j/start"), start(spec))
    await harness.agents.order(harness.address, envelope("j/stop"), stop(spec))
    again = await harness.agents.order(harness.address, envelope("j/start"), start(spec))
    assert again == first
    there = await harness.agents.ask(harness.address, ReadGuests(), 5.0)
    assert [live.up for live in there.guests] == [False]


async def test_an_error_is_remembered_under_its_key(harness: Harness) -> None:
    outside = DiskCreate(disk=disk("/etc/passwd"))
    for _ in range(2):
        with pytest.raises(Rejected):
            await harness.agents.order(harness.address, envelope("j/disk"), outside)


async def test_another_order_under_a_known_key_is_refused(harness: Harness) -> None:
    await harness.agents.order(harness.address, envelope("j/a"), Delay(duration=0.0))
    with pytest.raises(Rejected, match="j/a") as caught:
        await harness.agents.order(harness.address, envelope("j/a"), Delay(duration=0.01))
    assert caught.value.node == "node1"


async def test_a_key_that_is_running_is_attached_to(harness: Harness) -> None:
    began = time.monotonic()
    answers = await asyncio.gather(
        *(
            harness.agents.order(harness.address, envelope("j/a"), Delay(duration=0.4))
            for _ in range(5)
        )
    )
    assert answers == [Nothing()] * 5
    assert time.monotonic() - began < 1.2, "it ran more than once"


async def test_what_was_ordered_goes_on_when_its_master_goes_away(harness: Harness) -> None:
    waiting = await begun(harness, "j/a", 0.4)
    waiting.cancel()
    began = time.monotonic()
    order = Delay(duration=0.4)
    assert await harness.agents.order(harness.address, envelope("j/a"), order) == Nothing()
    assert time.monotonic() - began < 0.8


async def test_orders_of_one_job_run_in_the_order_of_their_arrival(harness: Harness) -> None:
    one = disk()
    slow = await begun(harness, "j/slow", 0.4)
    await harness.agents.order(harness.address, envelope("j/make"), DiskCreate(disk=one))
    assert slow.done(), "it did not wait for its turn"
    assert harness.disk_is_there(one.path)
    await slow


async def test_orders_of_different_jobs_do_not_wait_for_each_other(harness: Harness) -> None:
    slow = await begun(harness, "j1/slow", 30.0)
    await harness.agents.order(harness.address, envelope("j2/make"), DiskCreate(disk=disk()))
    assert not slow.done()
    await harness.agents.cancel(harness.address, "j1/slow", 1)
    with pytest.raises(Cancelled):
        await slow


async def test_a_cancelled_order_fails_as_cancelled_and_stays_so(harness: Harness) -> None:
    slow = await begun(harness, "j/slow", 30.0)
    await harness.agents.cancel(harness.address, "j/slow", 1)
    with pytest.raises(Cancelled):
        await slow
    with pytest.raises(Cancelled):
        await harness.agents.order(harness.address, envelope("j/slow"), Delay(duration=30.0))


async def test_an_order_that_comes_after_its_cancellation_is_not_done(harness: Harness) -> None:
    one = disk()
    await harness.agents.cancel(harness.address, "j/make", 1)
    with pytest.raises(Cancelled):
        await harness.agents.order(harness.address, envelope("j/make"), DiskCreate(disk=one))
    assert not harness.disk_is_there(one.path)


async def test_cancelling_what_is_done_changes_nothing(harness: Harness) -> None:
    one = disk()
    await harness.agents.order(harness.address, envelope("j/make"), DiskCreate(disk=one))
    await harness.agents.cancel(harness.address, "j/make", 1)
    await harness.agents.order(harness.address, envelope("j/make"), DiskCreate(disk=one))
    assert harness.disk_is_there(one.path)


async def test_a_waiting_order_that_is_cancelled_lets_nobody_past_the_running_one(
    harness: Harness,
) -> None:
    one = disk()
    slow = await begun(harness, "j/1", 0.4)
    second, third = (
        asyncio.ensure_future(harness.agents.order(harness.address, envelope(key), order))
        for key, order in (("j/2", DiskRemove(disk=one)), ("j/3", DiskCreate(disk=one)))
    )
    await harness.agents.cancel(harness.address, "j/2", 1)
    await third
    assert slow.done()
    with pytest.raises(Cancelled):
        await second
    await slow


async def test_a_forgotten_key_is_free_again(harness: Harness) -> None:
    one = disk()
    await harness.agents.order(harness.address, envelope("j/make"), DiskCreate(disk=one))
    await harness.agents.order(harness.address, envelope("j/gone"), DiskRemove(disk=one))
    await harness.agents.forget(harness.address, ["j/"], 1)
    await harness.agents.order(harness.address, envelope("j/make"), DiskCreate(disk=one))
    assert harness.disk_is_there(one.path)


async def test_other_jobs_keys_are_not_forgotten(harness: Harness) -> None:
    one = disk()
    await harness.agents.order(harness.address, envelope("j/make"), DiskCreate(disk=one))
    await harness.agents.order(harness.address, envelope("j/gone"), DiskRemove(disk=one))
    await harness.agents.forget(harness.address, ["k/"], 1)
    await harness.agents.order(harness.address, envelope("j/make"), DiskCreate(disk=one))
    assert not harness.disk_is_there(one.path)


async def test_an_order_that_takes_longer_than_it_may_is_ended(harness: Harness) -> None:
    with pytest.raises(OperationFailed, match=r"0\.2 seconds") as caught:
        await harness.agents.order(
            harness.address, envelope("j/slow", timeout=0.2), Delay(duration=30.0)
        )
    assert caught.value.node == "node1"


async def test_hooks_with_another_attempt_are_the_same_effect(harness: Harness) -> None:
    harness.add_hook("instance-start-pre.d", "10-say", 0, "said")
    first = await harness.agents.order(harness.address, envelope("j/pre"), hooks())
    again = await harness.agents.order(harness.address, envelope("j/pre"), hooks(attempt=2))
    assert again == first


async def test_hooks_that_a_new_master_tells_its_own_name_are_the_same_effect(
    harness: Harness,
) -> None:
    harness.add_hook("instance-start-fail.d", "10-say", 0, "said")
    told = hooks("instance-start-fail.d", environments={"1": {"GANETI_MASTER": "node1"}})
    first = await harness.agents.order(harness.address, envelope("j/fail"), told)
    other = hooks("instance-start-fail.d", environments={"1": {"GANETI_MASTER": "node2"}})
    assert await harness.agents.order(harness.address, envelope("j/fail"), other) == first
    with pytest.raises(Rejected, match="j/fail"):
        await harness.agents.order(
            harness.address, envelope("j/fail"), hooks("instance-start-fail.d", run_id="another")
        )


async def test_hooks_whose_key_was_cancelled_stay_cancelled_also_where_no_script_would_run(
    harness: Harness,
) -> None:
    await harness.agents.cancel(harness.address, "j/pre", 1)
    with pytest.raises(Cancelled):
        await harness.agents.order(harness.address, envelope("j/pre"), hooks())
