"""Every driver: watches in order and without gaps, and compaction."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest
from tests.contract.store.drivers import Driver

from gantry.ports.store import Compacted, Delete, Event, Put, Store, StoreUnavailable

Watch = AsyncGenerator[tuple[Event, ...], None]
SECONDS = 20.0


async def following(watch: Watch) -> tuple[Event, ...]:
    """The next transaction of a watch."""
    async with asyncio.timeout(SECONDS):
        return await anext(watch)


async def start(store: Store) -> int:
    """The revision of the store before the test."""
    return (await store.range("")).revision


async def test_a_watch_sees_whole_transactions_below_its_prefix(store: Store) -> None:
    async with contextlib.aclosing(store.watch("/w/", await start(store))) as watch:
        one = await store.txn([], [Put("/w/b", b"1"), Put("/x", b""), Put("/w/a", b"2")])
        await store.txn([], [Put("/x", b"")])
        two = await store.txn([], [Delete("/w/b"), Delete("/w/absent")])
        assert await following(watch) == (Event("/w/b", b"1", one), Event("/w/a", b"2", one))
        assert await following(watch) == (Event("/w/b", None, two),)


async def test_a_waiting_watch_wakes_up(store: Store) -> None:
    async with contextlib.aclosing(store.watch("/", await start(store))) as watch:
        waiting = asyncio.create_task(following(watch))
        await asyncio.sleep(0)
        revision = await store.txn([], [Put("/a", b"1")])
        assert await waiting == (Event("/a", b"1", revision),)


async def test_a_watch_starts_from_a_past_revision(store: Store) -> None:
    revisions = [await store.txn([], [Put("/a", b"%d" % number)]) for number in range(10)]
    async with contextlib.aclosing(store.watch("", revisions[5])) as watch:
        for number in range(6, 10):
            assert await following(watch) == (Event("/a", b"%d" % number, revisions[number]),)


async def test_a_range_and_the_watch_after_it_miss_nothing(store: Store) -> None:
    """Whatever is read while others write: the events up to it make it, the rest follows."""
    before = await start(store)

    async def write(client: int) -> None:
        for number in range(40):
            key = f"/{client}/{number % 7}"
            await store.txn([], [Delete(key) if number % 5 == 4 else Put(key, b"%d" % number)])

    async with asyncio.TaskGroup() as clients:
        for client in range(5):
            clients.create_task(write(client))
        found = [await store.range("") for _ in range(30)]
    last = await store.range("")
    seen: dict[int, dict[str, bytes]] = {before: {}}
    async with contextlib.aclosing(store.watch("", before)) as watch:
        while max(seen) < last.revision:
            state = dict(seen[max(seen)])
            events = await following(watch)
            assert events[0].revision == max(seen) + 1
            for event in events:
                state.pop(event.key, None)
                if event.value is not None:
                    state[event.key] = event.value
            seen[events[0].revision] = state
    for each in [*found, last]:
        assert {item.key: item.value for item in each.items} == seen[each.revision]


async def test_a_watch_follows_thousands_of_transactions(store: Store) -> None:
    before = await start(store)

    async def write(client: int) -> None:
        for number in range(100):
            await store.txn([], [Put(f"/c/{client}", b"%d" % number)])

    watch = store.watch("/c/", before)
    async with contextlib.aclosing(watch), asyncio.TaskGroup() as clients:
        for client in range(20):
            clients.create_task(write(client))
        counts = [0] * 20
        revision = before
        while sum(counts) < 2000:
            events = await following(watch)
            revision += 1
            for event in events:
                client = int(event.key.removeprefix("/c/"))
                assert (event.revision, event.value) == (revision, b"%d" % counts[client])
                counts[client] += 1
    assert counts == [100] * 20


async def test_several_watches_see_the_same(store: Store) -> None:
    before = await start(store)
    watches = [store.watch("/", before) for _ in range(5)]
    async with contextlib.AsyncExitStack() as stack:
        for watch in watches:
            await stack.enter_async_context(contextlib.aclosing(watch))
        waiting = [asyncio.create_task(following(watch)) for watch in watches]
        await asyncio.sleep(0)
        revision = await store.txn([], [Put("/a", b"")])
        assert await asyncio.gather(*waiting) == [(Event("/a", b"", revision),)] * 5


async def test_a_watch_from_before_the_horizon_is_compacted(store: Store) -> None:
    revisions = [await store.txn([], [Put("/a", b"%d" % number)]) for number in range(10)]
    await store.compact(revisions[6])
    with pytest.raises(Compacted) as caught:
        await following(store.watch("/", revisions[2]))
    assert caught.value.revision == revisions[6]
    item = await store.get("/a")
    assert item is not None
    assert item.value == b"9"


async def test_a_watch_from_the_horizon_misses_nothing(store: Store) -> None:
    revisions = [await store.txn([], [Put("/a", b"%d" % number)]) for number in range(10)]
    await store.compact(revisions[6])
    async with contextlib.aclosing(store.watch("/", revisions[6])) as watch:
        for number in (7, 8, 9):
            assert await following(watch) == (Event("/a", b"%d" % number, revisions[number]),)


async def test_compaction_does_not_disturb_a_watch_that_keeps_up(store: Store) -> None:
    async with contextlib.aclosing(store.watch("/w", await start(store))) as watch:
        for number in range(20):
            await store.txn([], [Put("/other", b"")])
            revision = await store.txn([], [Put("/w", b"%d" % number)])
            assert await following(watch) == (Event("/w", b"%d" % number, revision),)
            await store.compact(revision)


async def test_a_watch_that_fell_behind_has_no_gap_before_it_is_compacted(store: Store) -> None:
    before = await start(store)
    async with contextlib.aclosing(store.watch("/", before)) as watch:
        for number in range(1000):
            await store.txn([], [Put("/a", b"%d" % number)])
        assert await following(watch) == (Event("/a", b"0", before + 1),)
        await store.compact(before + 999)
        expected = before + 2
        with contextlib.suppress(Compacted):
            while expected <= before + 1000:
                (event,) = await following(watch)
                assert event.revision == expected
                expected += 1


async def test_compacting_backwards_or_beyond_the_present_is_harmless(store: Store) -> None:
    revisions = [await store.txn([], [Put("/a", b"%d" % number)]) for number in range(5)]
    await store.compact(revisions[3])
    await store.compact(revisions[1])
    async with contextlib.aclosing(store.watch("", revisions[3])) as watch:
        assert await following(watch) == (Event("/a", b"4", revisions[4]),)


async def test_a_waiting_watch_hears_of_the_close(driver: Driver) -> None:
    store = await driver.open()
    waiting = asyncio.create_task(following(store.watch("", await start(store))))
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(StoreUnavailable):
        await waiting


async def test_history_is_there_after_opening_again(durable_driver: Driver) -> None:
    store = await durable_driver.open()
    first = await store.txn([], [Put("/a", b"1")])
    second = await store.txn([], [Put("/a", b"2")])
    third = await store.txn([], [Delete("/a")])
    await store.compact(first)
    await store.close()
    store = await durable_driver.open()
    async with contextlib.aclosing(store.watch("/a", first)) as watch:
        assert await following(watch) == (Event("/a", b"2", second),)
        assert await following(watch) == (Event("/a", None, third),)
    await store.close()
