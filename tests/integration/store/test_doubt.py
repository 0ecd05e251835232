"""A request that nobody answered: what became of it is found out, and it happens once or never."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest
from tests.integration.store.conftest import Open
from tests.support.etcd import Etcd
from tests.support.proxy import HttpProxy, Mode

from gantry.ports.store import (
    Compacted,
    Compare,
    Conflict,
    Delete,
    Event,
    LeaseGone,
    LeaseId,
    Put,
    StoreLocked,
    StoreUnavailable,
)
from gantry.store.etcd import EtcdStore, Patience

SECONDS = 60.0
WRITES = 25
ROUNDS = 60


async def events(store: EtcdStore, after: int, count: int) -> list[Event]:
    """That many of all keys; then one more put shows that there were no others."""
    found: list[Event] = []
    await store.txn([], [Put("end", b"")])
    async with asyncio.timeout(SECONDS), contextlib.aclosing(store.watch("", after)) as watch:
        async for transaction in watch:
            found += [event for event in transaction if event.key != "end"]
            if transaction[-1].key == "end":
                break
    assert len(found) == count
    return found


async def test_an_answer_that_was_lost_is_found_in_the_slot(
    members: Etcd, proxies: list[HttpProxy], opened: Open
) -> None:
    store = await opened([proxies[0].url, members.urls[1]])
    before = await store.txn([], [Put("first", b"")])
    proxies[0].mode = Mode.DEAF
    revision = await store.txn([Compare("a", 0)], [Put("a", b"1")])
    (event,) = await events(store, before, 1)
    assert event == Event("a", b"1", revision)
    assert store.commits == 3


async def test_a_conflict_is_told_only_when_it_is_for_good(
    members: Etcd, proxies: list[HttpProxy], opened: Open
) -> None:
    store = await opened([proxies[0].url, members.urls[1]])
    await store.txn([], [Put("taken", b"")])
    proxies[0].hold()
    with pytest.raises(Conflict, match="taken"):
        await store.txn([Compare("taken", 0)], [Put("b", b"late")])
    assert proxies[0].requests.is_set()
    # Now its first sending would succeed; nothing of this writer came after it.
    other = await opened(members.urls)
    await other.txn([], [Delete("taken")])
    proxies[0].release()
    async with asyncio.timeout(SECONDS):
        await proxies[0].served.wait()
    assert await store.get("b") is None
    await store.txn([], [Put("b", b"on time")])


async def test_writes_after_a_time_without_answer_go_on_in_order(
    members: Etcd, proxies: list[HttpProxy], opened: Open
) -> None:
    store = await opened([proxies[0].url], patience=Patience(tries=(0.4,), whole=0.8))
    await store.txn([], [Put("a", b"1")])
    proxies[0].mode = Mode.DEAF
    with pytest.raises(StoreUnavailable, match="no answer in time"):
        await store.txn([], [Put("a", b"2")])
    proxies[0].mode = Mode.FORWARD
    item = await store.get("a")
    assert item is not None
    assert item.value == b"2"
    await store.txn([Compare("a", item.mod_revision)], [Put("a", b"3")])


async def test_a_second_process_of_the_same_name_cuts_the_first_off(
    members: Etcd, opened: Open
) -> None:
    first = await opened(members.urls, writer="node")
    await first.txn([], [Put("a", b"1")])
    second = await opened(members.urls, writer="node")
    await second.txn([], [Put("a", b"2")])
    with pytest.raises(StoreLocked, match="another process"):
        await first.txn([], [Put("a", b"1")])
    with pytest.raises(StoreLocked):
        await first.txn([], [Put("b", b"1")])
    await second.txn([], [Put("c", b"2")])
    assert [item.key for item in (await second.range("")).items] == ["a", "c"]


async def test_one_bad_transaction_of_a_group_alone_is_refused(members: Etcd, opened: Open) -> None:
    store = await opened(members.urls)
    await store.txn([], [Put("there", b"")])
    flushes = store.flushes
    answers = await asyncio.gather(
        store.txn([Compare("a", 0)], [Put("a", b"")]),
        store.txn([Compare("b", 0)], [Put("b", b"")]),
        store.txn([Compare("there", 0)], [Put("c", b"")]),
        store.txn([], [Put("d", b"", LeaseId(4711))]),
        store.txn([Compare("e", 0)], [Put("e", b"")]),
        return_exceptions=True,
    )
    assert [type(each) for each in answers] == [int, int, Conflict, LeaseGone, int]
    keys = [item.key for item in (await store.range("")).items]
    assert keys == ["a", "b", "e", "there"]
    assert store.commits == 4
    assert store.flushes - flushes == 3


async def test_what_waits_goes_together(members: Etcd, opened: Open) -> None:
    store = await opened(members.urls)
    await store.txn([], [Put("warm", b"")])
    flushes = store.flushes
    revisions = await asyncio.gather(
        *(store.txn([Compare(f"{n}", 0)], [Put(f"{n}", b"x" * 900)]) for n in range(300))
    )
    assert revisions == sorted(revisions)
    # The first goes alone, the others at 127 a request.
    assert store.flushes - flushes <= 5


async def test_a_watch_that_was_cut_off_over_a_compaction_says_so(
    members: Etcd, proxies: list[HttpProxy], opened: Open
) -> None:
    watcher, writer = await opened([proxies[0].url]), await opened(members.urls)
    first = await writer.txn([], [Put("w", b"1")])
    async with contextlib.aclosing(watcher.watch("w", first - 1)) as watch:
        async with asyncio.timeout(SECONDS):
            assert await anext(watch) == (Event("w", b"1", first),)
        proxies[0].mode = Mode.HANG
        for number in range(5):
            last = await writer.txn([], [Put("w", b"%d" % number)])
        await writer.compact(last)
        waiting = asyncio.create_task(anext(watch))
        # Its connection is dead, and it opens another one only some seconds later.
        async with asyncio.timeout(SECONDS):
            proxies[0].requests.clear()
            await proxies[0].requests.wait()
        proxies[0].mode = Mode.FORWARD
        with pytest.raises(Compacted) as caught:
            async with asyncio.timeout(SECONDS):
                await waiting
    assert caught.value.revision == last


def calm(proxies: list[HttpProxy]) -> None:
    for each in proxies:
        each.let_go()


async def disturb(proxies: list[HttpProxy], chance: random.Random) -> None:
    for _ in range(ROUNDS):
        for proxy in chance.sample(proxies, 2):
            proxy.mode = chance.choice([Mode.HANG, Mode.DEAF, Mode.HOLD])
        await asyncio.sleep(0.03)
        calm([each for each in proxies if chance.random() < 0.5])
    calm(proxies)


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_write_happens_once_whatever_the_ways_do(
    members: Etcd, proxies: list[HttpProxy], opened: Open, seed: int
) -> None:
    """Ways to the members hang, lose answers, hold requests back; each for a short time."""
    chance = random.Random(seed)
    store = await opened(
        [each.url for each in proxies], patience=Patience(tries=(0.1, 0.2, 0.4, 1.0), whole=SECONDS)
    )
    observer = await opened(members.urls)
    before = (await observer.range("")).revision
    acknowledged: dict[bytes, int] = {}

    async def write(client: int) -> None:
        revision = 0
        for number in range(WRITES):
            value = b"%d/%d" % (client, number)
            key = f"client/{client}"
            revision = await store.txn([Compare(key, revision)], [Put(key, value)])
            acknowledged[value] = revision

    disturbing = asyncio.create_task(disturb(proxies, chance))
    try:
        await asyncio.gather(*(write(client) for client in range(8)))
    finally:
        disturbing.cancel()
    calm(proxies)
    found = await events(observer, before, 8 * WRITES)
    assert {event.value: event.revision for event in found} == acknowledged
