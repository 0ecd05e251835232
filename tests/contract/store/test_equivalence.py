"""Every driver answers as the memory driver does, whatever the sequence of calls."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.store.drivers import DRIVERS

from gantry.ports.store import (
    Compacted,
    Compare,
    Conflict,
    Delete,
    Event,
    Item,
    Lease,
    LeaseGone,
    Operation,
    Put,
    Store,
)
from gantry.store.memory import MemoryStore

WAIT_SECONDS = 10.0
FAR_BACK = 8


class Client:
    """A store and what its user holds; revisions are counted from where the store began."""

    def __init__(self, store: Store, base: int) -> None:
        self.store = store
        self.base = base
        self.leases: list[Lease] = []

    async def perform(self, step: Step) -> object:
        """What the step answers, in words that are the same for all drivers."""
        try:
            return await step(self)
        except Conflict as conflict:
            return ("conflict", conflict.keys)
        except LeaseGone:
            return "lease gone"
        except Compacted as compacted:
            return ("compacted", compacted.revision - self.base)

    async def present(self) -> int:
        return (await self.store.range("")).revision

    def item(self, item: Item) -> object:
        created, modified = item.create_revision - self.base, item.mod_revision - self.base
        return (item.key, item.value, created, modified)

    def events(self, transaction: Iterable[Event]) -> object:
        # The keys that a lease took with it may come in any order.
        return sorted((each.key, each.value, each.revision - self.base) for each in transaction)


Step = Callable[[Client], Awaitable[object]]
Aim = tuple[str, str]


def change(aims: list[Aim], changes: dict[str, bytes | None], lease: int | None) -> Step:
    async def step(client: Client) -> object:
        compare = []
        for key, aim in aims:
            item = await client.store.get(key)
            right = item.mod_revision if item else 0
            compare.append(Compare(key, {"right": right, "absent": 0, "old": client.base}[aim]))
        held = client.leases[lease % len(client.leases)].id if lease and client.leases else None
        ops: list[Operation] = [
            Delete(key) if value is None else Put(key, value, held)
            for key, value in changes.items()
        ]
        return await client.store.txn(compare, ops) - client.base

    return step


def get(key: str) -> Step:
    async def step(client: Client) -> object:
        item = await client.store.get(key)
        return item and client.item(item)

    return step


def list_all(prefix: str) -> Step:
    async def step(client: Client) -> object:
        found = await client.store.range(prefix)
        return (found.revision - client.base, [client.item(item) for item in found.items])

    return step


def watch(prefix: str, back: int) -> Step:
    async def step(client: Client) -> object:
        """All events up to the present; a last put tells where that is."""
        after = max(client.base, await client.present() - back)
        end = prefix + "/end"
        last = await client.store.txn([], [Put(end, b"")])
        seen = []
        async with (
            asyncio.timeout(WAIT_SECONDS),
            contextlib.aclosing(client.store.watch(prefix, after)) as transactions,
        ):
            async for transaction in transactions:
                seen.append(client.events(transaction))
                if transaction[0].revision == last:
                    break
        return seen

    return step


def compact(back: int) -> Step:
    async def step(client: Client) -> object:
        await client.store.compact(max(client.base, await client.present() - back))
        return None

    return step


def grant() -> Step:
    async def step(client: Client) -> object:
        client.leases.append(await client.store.grant(600.0))
        return None

    return step


def revoke(lease: int) -> Step:
    async def step(client: Client) -> object:
        if client.leases:
            await client.leases[lease % len(client.leases)].revoke()
        return None

    return step


KEYS = st.sampled_from(["/a", "/a/1", "/a/2", "/b", "/b/1", "/c"])
PREFIXES = st.sampled_from(["", "/", "/a", "/a/", "/b/", "/c", "/d"])
AIMS = st.lists(st.tuples(KEYS, st.sampled_from(["right", "right", "absent", "old"])), max_size=2)
CHANGES = st.dictionaries(KEYS, st.none() | st.binary(max_size=3), max_size=4)
LEASES = st.integers(0, 3)
BACK = st.integers(0, FAR_BACK)
STEPS = st.lists(
    st.one_of(
        st.builds(change, AIMS, CHANGES, st.none() | LEASES),
        st.builds(change, st.just([]), CHANGES, LEASES),
        st.builds(get, KEYS),
        st.builds(list_all, PREFIXES),
        st.builds(watch, PREFIXES, BACK),
        st.builds(compact, BACK),
        st.builds(grant),
        st.builds(revoke, LEASES),
    ),
    max_size=40,
)


async def compare_drivers(name: str, directory: Path, steps: list[Step]) -> None:
    tested, reference = await DRIVERS[name](directory).open(), MemoryStore()
    async with contextlib.AsyncExitStack() as stack:
        clients = []
        for store in (tested, reference):
            stack.push_async_callback(store.close)
            # So that the revision where it begins is that of no key that the steps use.
            await store.txn([], [Put("begin", b"")])
            clients.append(Client(store, (await store.range("")).revision))
        for step in [*steps, list_all("")]:
            answers = [await client.perform(step) for client in clients]
            assert answers[0] == answers[1]


@pytest.mark.parametrize("name", sorted(name for name in DRIVERS if name != "memory"))
@given(steps=STEPS)
@settings(max_examples=100, deadline=None)
def test_answers_as_the_memory_driver_does(name: str, steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(compare_drivers(name, Path(directory), steps))
