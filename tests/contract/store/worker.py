"""A client of a store in a process of its own; run by ``processes``, not by pytest."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.contract.store.drivers import DRIVERS, Driver

from gantry.ports.store import Compare, Conflict, Put, Store

WRITERS = 8
KEYS_OF_A_WRITE = 3


async def increment(driver: Driver, times: str) -> None:
    """Add one to the key ``counter``, ``times`` times, by compare-and-swap."""
    store = await driver.open_shared()
    done = 0
    while done < int(times):
        item = await store.get("counter")
        count, revision = (int(item.value), item.mod_revision) if item else (0, 0)
        with contextlib.suppress(Conflict):
            await store.txn(
                [Compare("counter", revision)], [Put("counter", str(count + 1).encode())]
            )
            done += 1
    await store.close()


async def observe(driver: Driver, events: str) -> None:
    """Say "ready", then print the value of each of that many events of ``counter``."""
    store = await driver.open_shared()
    before = (await store.range("")).revision
    print("ready", flush=True)
    left = int(events)
    async with contextlib.aclosing(store.watch("counter", before)) as watch:
        async for transaction in watch:
            for event in transaction:
                print((event.value or b"").decode())
            left -= len(transaction)
            if left <= 0:
                break
    await store.close()


async def write(driver: Driver, name: str) -> None:
    """Write for ever, several at once; print each number when it is acknowledged."""
    store = await driver.open()
    numbers = itertools.count(1)
    async with asyncio.TaskGroup() as writers:
        for _ in range(WRITERS):
            writers.create_task(_write(store, name, numbers))


async def _write(store: Store, name: str, numbers: itertools.count[int]) -> None:
    for number in numbers:
        value = str(number).encode() * 200
        keys = [f"{name}/{number}/{part}" for part in range(KEYS_OF_A_WRITE)]
        await store.txn([Compare(key, 0) for key in keys], [Put(key, value) for key in keys])
        print(number, flush=True)


async def lease(driver: Driver, key: str) -> None:
    """Hold a key by a lease, say "held", and hang."""
    store = await driver.open()
    granted = await store.grant(driver.lease_seconds)
    await store.txn([], [Put(key, b"here", granted.id)])
    print("held", flush=True)
    while True:
        await granted.keep_alive()
        await asyncio.sleep(granted.ttl_seconds / 4)


ROLES: dict[str, Callable[[Driver, str], Awaitable[None]]] = {
    role.__name__: role for role in (increment, observe, write, lease)
}


async def main() -> None:
    name, directory, role, argument = sys.argv[1:]
    await ROLES[role](DRIVERS[name](Path(directory)), argument)


if __name__ == "__main__":
    asyncio.run(main())
