"""Every driver: single keys, ranges, transactions, conflicts and limits."""

from __future__ import annotations

import asyncio

import pytest
from tests.contract.store.drivers import Driver

from gantry.ports.store import (
    MAX_OPERATIONS,
    MAX_TRANSACTION_BYTES,
    MAX_VALUE_BYTES,
    Compare,
    Conflict,
    Delete,
    Item,
    LimitExceeded,
    Operation,
    Put,
    Store,
    StoreUnavailable,
)


async def test_an_absent_key_is_none(store: Store) -> None:
    assert await store.get("/absent") is None


async def test_a_put_is_read_back_with_its_revisions(store: Store) -> None:
    first = await store.txn([], [Put("/a", b"1")])
    second = await store.txn([], [Put("/a", b"\x00\xff")])
    assert await store.get("/a") == Item("/a", b"\x00\xff", first, second)
    assert second == first + 1


async def test_an_empty_value_is_a_value(store: Store) -> None:
    await store.txn([], [Put("/a", b"")])
    item = await store.get("/a")
    assert item is not None
    assert item.value == b""


async def test_a_key_made_again_has_a_new_create_revision(store: Store) -> None:
    await store.txn([], [Put("/a", b"1")])
    await store.txn([], [Delete("/a")])
    revision = await store.txn([Compare("/a", 0)], [Put("/a", b"2")])
    assert await store.get("/a") == Item("/a", b"2", revision, revision)


async def test_all_operations_of_a_transaction_share_one_revision(store: Store) -> None:
    await store.txn([], [Put("/gone", b"")])
    revision = await store.txn([], [Put("/b", b"2"), Delete("/gone"), Put("/a", b"1")])
    found = await store.range("/")
    assert found.revision == revision
    assert found.items == (
        Item("/a", b"1", revision, revision),
        Item("/b", b"2", revision, revision),
    )


async def test_a_range_holds_the_prefix_only_and_is_sorted(store: Store) -> None:
    for key in ("/n/b", "/n/a", "/n", "/n/", "/n0", "/m/z", "/n/a/x", "~", "!"):
        await store.txn([], [Put(key, key.encode())])
    found = await store.range("/n/")
    assert [item.key for item in found.items] == ["/n/", "/n/a", "/n/a/x", "/n/b"]
    everything = [item.key for item in (await store.range("")).items]
    assert everything == ["!", "/m/z", "/n", "/n/", "/n/a", "/n/a/x", "/n/b", "/n0", "~"]
    assert [item.key for item in (await store.range("~")).items] == ["~"]
    assert (await store.range("/absent")).items == ()


async def test_a_prefix_is_no_pattern(store: Store) -> None:
    await store.txn([], [Put("/a_c", b""), Put("/abc", b""), Put("/A_c", b""), Put("/a%", b"")])
    assert [item.key for item in (await store.range("/a_")).items] == ["/a_c"]
    assert [item.key for item in (await store.range("/a%")).items] == ["/a%"]


async def test_a_transaction_without_effect_keeps_the_revision(store: Store) -> None:
    revision = await store.txn([], [Put("/a", b"")])
    assert await store.txn([Compare("/a", revision)], []) == revision
    assert await store.txn([], [Delete("/absent")]) == revision
    assert (await store.range("")).revision == revision


async def test_a_conflict_names_the_keys_and_leaves_nothing(store: Store) -> None:
    first = await store.txn([], [Put("/a", b"1"), Put("/b", b"1")])
    second = await store.txn([], [Put("/b", b"2")])
    before = await store.range("")
    with pytest.raises(Conflict) as caught:
        await store.txn(
            [Compare("/a", first), Compare("/b", first), Compare("/c", second)],
            [Put("/a", b"3"), Delete("/b"), Put("/c", b"3")],
        )
    assert caught.value.keys == ("/b", "/c")
    assert await store.range("") == before


async def test_a_compare_with_zero_refuses_a_key_that_exists(store: Store) -> None:
    await store.txn([Compare("/a", 0)], [Put("/a", b"1")])
    with pytest.raises(Conflict):
        await store.txn([Compare("/a", 0)], [Put("/a", b"2")])


async def test_a_compare_with_a_revision_refuses_a_deleted_key(store: Store) -> None:
    revision = await store.txn([], [Put("/a", b"1")])
    await store.txn([], [Delete("/a")])
    with pytest.raises(Conflict):
        await store.txn([Compare("/a", revision)], [Put("/a", b"2")])


async def test_of_many_swaps_at_once_exactly_one_wins(store: Store) -> None:
    revision = await store.txn([], [Put("/a", b"start")])

    async def swap(number: int) -> bool:
        try:
            await store.txn([Compare("/a", revision)], [Put("/a", b"%d" % number)])
        except Conflict:
            return False
        return True

    won = await asyncio.gather(*(swap(number) for number in range(50)))
    assert won.count(True) == 1
    item = await store.get("/a")
    assert item is not None
    assert item.value == b"%d" % won.index(True)


async def test_the_largest_value_and_the_most_operations_are_taken(store: Store) -> None:
    await store.txn([], [Put("/large", b"x" * MAX_VALUE_BYTES)])
    item = await store.get("/large")
    assert item is not None
    assert len(item.value) == MAX_VALUE_BYTES
    keys = [f"/many/{number:03}" for number in range(MAX_OPERATIONS)]
    await store.txn([Compare(key, 0) for key in keys], [Put(key, b"") for key in keys])
    assert [item.key for item in (await store.range("/many/")).items] == keys


HALF = b"x" * (MAX_TRANSACTION_BYTES // 2)


@pytest.mark.parametrize(
    ("compare", "ops"),
    [
        ([], [Put("/a", b"x" * (MAX_VALUE_BYTES + 1))]),
        ([], [Put("/a", HALF), Put("/b", HALF)]),
        ([], [Put(f"/{number}", b"") for number in range(MAX_OPERATIONS + 1)]),
        ([Compare(f"/{number}", 0) for number in range(MAX_OPERATIONS + 1)], []),
        ([], [Put("/a", b"1"), Put("/b", b"1"), Put("/a", b"2")]),
        ([], [Put("/a", b"1"), Delete("/a")]),
        ([], [Put("", b"1")]),
        ([], [Delete("/a b")]),
        ([], [Put("/ä", b"1")]),
        ([], [Put("/a\x00", b"1")]),
        ([], [Put("/" + "a" * 1024, b"1")]),
        ([Compare("\n", 0)], []),
    ],
    ids=[
        "value", "sum", "operations", "compares", "put twice", "put and delete",
        "no key", "space", "beyond ASCII", "zero byte", "long key", "compared key",
    ],
)  # fmt: skip
async def test_refuses_what_is_over_a_limit_and_leaves_nothing(
    store: Store, compare: list[Compare], ops: list[Operation]
) -> None:
    before = await store.range("")
    with pytest.raises(LimitExceeded):
        await store.txn(compare, ops)
    assert await store.range("") == before


async def test_counts_the_transactions_that_it_acknowledged(store: Store) -> None:
    before = store.commits
    for number in range(3):
        await store.txn([Compare("/a", 0)] if number == 0 else [], [Put("/a", b"")])
    with pytest.raises(Conflict):
        await store.txn([Compare("/a", 0)], [])
    assert store.commits - before == 3
    assert 1 <= store.flushes <= 3


async def test_a_closed_store_says_so(driver: Driver) -> None:
    store = await driver.open()
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.get("/a")
    with pytest.raises(StoreUnavailable):
        await store.txn([], [Put("/a", b"")])
    with pytest.raises(StoreUnavailable):
        await anext(store.watch("", 0))


async def test_what_was_acknowledged_is_there_after_opening_again(durable_driver: Driver) -> None:
    store = await durable_driver.open()
    await store.txn([], [Put("/a", b"1"), Put("/b", b"1")])
    revision = await store.txn([], [Delete("/a")])
    before = await store.range("")
    await store.close()
    store = await durable_driver.open()
    assert await store.range("") == before
    assert await store.txn([], [Put("/c", b"1")]) == revision + 1
    await store.close()
