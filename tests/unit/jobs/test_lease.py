"""What is left of a lease is never more than what the store still holds of it."""

from __future__ import annotations

import asyncio

import pytest
from tests.fakes.clock import FakeClock

from gantry.host.clock import SystemClock
from gantry.jobs.lease import LeaseKeeper
from gantry.model.errors import Unavailable
from gantry.ports.store import LeaseGone, LeaseId, Put, StoreUnavailable
from gantry.store.memory import MemoryStore


class FakeLease:
    """Renewals take ``delay`` seconds of the clock, and go wrong with ``error``."""

    id = LeaseId(1)
    ttl_seconds = 10.0

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.delay = 0.0
        self.error: Exception | None = None
        self.renewed = 0
        self.revoked = False

    async def keep_alive(self) -> None:
        self._clock.advance(self.delay)
        self.renewed += 1
        if self.error is not None:
            raise self.error
        if self.renewed > 20:
            self.error = StoreUnavailable("gone")

    async def revoke(self) -> None:
        self.revoked = True


def kept(clock: FakeClock) -> tuple[LeaseKeeper, FakeLease]:
    lease = FakeLease(clock)
    return LeaseKeeper(lease, clock, clock.monotonic()), lease


async def test_the_time_left_counts_from_before_the_renewal_was_sent() -> None:
    clock = FakeClock()
    keeper, lease = kept(clock)
    lease.delay = 4.0
    lease.error = None
    assert keeper.left() == 10.0
    task = asyncio.ensure_future(keeper.keep())
    await asyncio.sleep(0)
    # The answer came 4 seconds later; only then did the keeper sleep.
    assert keeper.left() <= 10.0 - 4.0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_store_that_does_not_answer_is_asked_until_the_time_is_over() -> None:
    clock = FakeClock()
    keeper, lease = kept(clock)
    lease.error = StoreUnavailable("no answer")
    began = clock.monotonic()
    await keeper.keep()
    assert keeper.left() <= 0
    assert lease.renewed > 5
    assert clock.monotonic() - began < 12


async def test_a_lease_that_is_gone_is_over_at_once() -> None:
    clock = FakeClock()
    keeper, lease = kept(clock)
    lease.error = LeaseGone(lease.id)
    await keeper.keep()
    assert keeper.left() <= 0
    assert lease.renewed == 1


async def test_one_that_is_given_up_has_no_time_left() -> None:
    clock = FakeClock()
    keeper, lease = kept(clock)
    await keeper.give_up()
    assert keeper.left() <= 0
    assert lease.revoked


async def test_a_frozen_process_knows_that_its_lease_is_over() -> None:
    clock = FakeClock()
    keeper, _ = kept(clock)
    clock.advance(10.5)
    assert keeper.left() < 0


async def test_the_stores_key_outlives_what_the_keeper_says() -> None:
    store = MemoryStore()
    keeper = await LeaseKeeper.grant(store, 0.3, SystemClock())
    await store.txn([], [Put("key", b"", keeper.id)])
    task = asyncio.ensure_future(keeper.keep())
    await asyncio.sleep(0.6)
    assert await store.get("key") is not None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    while keeper.left() > 0:
        assert await store.get("key") is not None
        await asyncio.sleep(0.01)
    await store.close()
    with pytest.raises(Unavailable):
        await LeaseKeeper.grant(store, 0.3, SystemClock())
