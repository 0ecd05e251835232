"""Drivers of more than one process: races between them, and kill -9 in mid-transaction."""

from __future__ import annotations

import random

from tests.contract.store.drivers import Driver
from tests.contract.store.processes import Processes
from tests.contract.store.worker import KEYS_OF_A_WRITE

TIMES = 200
COUNTERS = 3


async def test_three_processes_count_exactly_and_a_fourth_sees_every_step(
    shared_driver: Driver, processes: Processes
) -> None:
    total = TIMES * COUNTERS
    observer = await processes.start(shared_driver, "observe", str(total))
    assert await observer.line() == "ready"
    counters = [
        await processes.start(shared_driver, "increment", str(TIMES)) for _ in range(COUNTERS)
    ]
    for counter in counters:
        assert await counter.rest() == []
        assert counter.status == 0
    assert await observer.rest() == [str(number) for number in range(1, total + 1)]
    store = await shared_driver.open_shared()
    item = await store.get("counter")
    await store.close()
    assert item is not None
    assert int(item.value) == total


async def test_nothing_acknowledged_is_lost_and_nothing_is_half_when_a_writer_is_killed(
    durable_driver: Driver, processes: Processes
) -> None:
    chance = random.Random(2026)
    acknowledged: dict[str, set[int]] = {}
    for round_ in range(8):
        name = f"/{round_}"
        writer = await processes.start(durable_driver, "write", name)
        heard = [await writer.line() for _ in range(chance.randrange(1, 400))]
        writer.kill()
        heard += await writer.rest()
        assert writer.status == -9
        acknowledged[name] = {int(number) for number in heard}

        store = await durable_driver.open()
        found = await store.range("")
        await store.close()
        assert [
            item.mod_revision for item in found.items if item.mod_revision > found.revision
        ] == []
        parts: dict[tuple[str, int], set[int]] = {}
        for item in found.items:
            _, round_name, number, part = item.key.split("/")
            assert item.value == number.encode() * 200
            parts.setdefault((f"/{round_name}", int(number)), set()).add(int(part))
        assert all(part == set(range(KEYS_OF_A_WRITE)) for part in parts.values())
        for client, numbers in acknowledged.items():
            assert all((client, number) in parts for number in numbers)
