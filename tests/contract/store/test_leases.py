"""Every driver: leases that expire, are kept alive, are revoked, and survive their holder."""

from __future__ import annotations

import contextlib

import pytest
from tests.contract.store.drivers import Driver
from tests.contract.store.processes import Processes
from tests.contract.store.test_watches import following, start

from gantry.ports.store import Compare, Event, Item, LeaseGone, LeaseId, Put, Store


async def test_keys_of_an_expired_lease_vanish_in_one_transaction(
    store: Store, driver: Driver
) -> None:
    lease = await store.grant(driver.lease_seconds)
    revision = await store.txn(
        [], [Put("/b", b"", lease.id), Put("/a", b"", lease.id), Put("/stays", b"")]
    )
    async with contextlib.aclosing(store.watch("", revision)) as watch:
        events = await following(watch)
    assert sorted(events, key=lambda event: event.key) == [
        Event("/a", None, revision + 1),
        Event("/b", None, revision + 1),
    ]
    assert [item.key for item in (await store.range("")).items] == ["/stays"]


async def test_an_expired_lease_is_gone(store: Store, driver: Driver) -> None:
    lease = await store.grant(driver.lease_seconds)
    revision = await store.txn([], [Put("/a", b"", lease.id)])
    async with contextlib.aclosing(store.watch("", revision)) as watch:
        await following(watch)
    with pytest.raises(LeaseGone):
        await lease.keep_alive()
    with pytest.raises(LeaseGone):
        await store.txn([], [Put("/stays", b""), Put("/a", b"", lease.id)])
    assert (await store.range("")).items == ()
    await lease.revoke()


async def test_a_lease_kept_alive_outlives_its_time(store: Store, driver: Driver) -> None:
    """Other leases, a quarter as long and one after the other, are the clock."""
    lease = await store.grant(driver.lease_seconds * 4)
    await store.txn([], [Put("/kept", b"", lease.id)])
    for _ in range(6):
        tick = await store.grant(driver.lease_seconds)
        revision = await store.txn([], [Put("/tick", b"", tick.id)])
        async with contextlib.aclosing(store.watch("", revision)) as watch:
            assert [event.key for event in await following(watch)] == ["/tick"]
        await lease.keep_alive()
    assert await store.get("/kept") is not None
    await lease.revoke()
    assert await store.get("/kept") is None


async def test_a_lease_not_kept_alive_ends_before_a_longer_one(
    store: Store, driver: Driver
) -> None:
    longer = await store.grant(driver.lease_seconds * 3)
    shorter = await store.grant(driver.lease_seconds)
    revision = await store.txn([], [Put("/long", b"", longer.id), Put("/short", b"", shorter.id)])
    async with contextlib.aclosing(store.watch("", revision)) as watch:
        assert [event.key for event in await following(watch)] == ["/short"]
        assert [event.key for event in await following(watch)] == ["/long"]


async def test_a_revoked_lease_takes_its_keys_at_once(store: Store) -> None:
    lease = await store.grant(600.0)
    revision = await store.txn([], [Put("/a", b"", lease.id)])
    await lease.revoke()
    assert await store.get("/a") is None
    async with contextlib.aclosing(store.watch("", revision)) as watch:
        assert await following(watch) == (Event("/a", None, revision + 1),)
    with pytest.raises(LeaseGone):
        await lease.keep_alive()
    await lease.revoke()


async def test_a_put_without_the_lease_detaches_the_key(store: Store) -> None:
    lease = await store.grant(600.0)
    first = await store.txn([], [Put("/a", b"1", lease.id)])
    second = await store.txn([], [Put("/a", b"2")])
    await lease.revoke()
    assert await store.get("/a") == Item("/a", b"2", first, second)


async def test_a_put_moves_the_key_to_another_lease(store: Store) -> None:
    one, two = await store.grant(600.0), await store.grant(600.0)
    assert one.id != two.id
    await store.txn([], [Put("/a", b"1", one.id)])
    await store.txn([], [Put("/a", b"2", two.id)])
    await one.revoke()
    assert await store.get("/a") is not None
    await two.revoke()
    assert await store.get("/a") is None


async def test_the_end_of_a_lease_makes_a_compare_fail_and_a_new_key_free(store: Store) -> None:
    lease = await store.grant(600.0)
    await store.txn([Compare("/elected", 0)], [Put("/elected", b"one", lease.id)])
    await lease.revoke()
    await store.txn([Compare("/elected", 0)], [Put("/elected", b"two")])


async def test_refuses_a_lease_that_never_was(store: Store) -> None:
    before = await start(store)
    with pytest.raises(LeaseGone):
        await store.txn([], [Put("/a", b""), Put("/b", b"", LeaseId(12345))])
    assert (await store.range("")).items == ()
    assert await start(store) == before


async def test_a_lease_without_keys_makes_no_event(store: Store) -> None:
    before = await start(store)
    lease = await store.grant(600.0)
    await lease.revoke()
    assert await start(store) == before


async def test_the_lease_of_a_killed_process_expires(
    durable_driver: Driver, processes: Processes
) -> None:
    holder = await processes.start(durable_driver, "lease", "/held")
    assert await holder.line() == "held"
    holder.kill()
    await holder.rest()
    store = await durable_driver.open()
    found = await store.range("/held")
    if found.items:
        async with contextlib.aclosing(store.watch("/held", found.revision)) as watch:
            (event,) = await following(watch)
            assert event.value is None
    assert await store.get("/held") is None
    await store.close()
