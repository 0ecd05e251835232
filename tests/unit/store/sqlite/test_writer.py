"""The group commit: what is in one group, and what spoils what."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import apsw
import pytest

from gantry.ports.store import (
    Compare,
    Conflict,
    LeaseGone,
    LeaseId,
    Put,
    StoreDamaged,
    StoreUnavailable,
)
from gantry.store.sqlite import open_sqlite
from gantry.store.sqlite.ledger import Ledger
from gantry.store.sqlite.schema import connect, prepare
from gantry.store.sqlite.writer import GROUP, Work, Writer


class Bench:
    """A writer whose thread can be held, so that a test decides what makes a group."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self.connection = connect(path)
        prepare(self.connection, path, create=True)
        self.wakes = 0
        self.writer = Writer(Ledger(self.connection), path, 1000, 1 << 26, self._wake)
        self._reading = connect(path, reading=True)

    def _wake(self) -> None:
        self.wakes += 1

    def hold(self) -> threading.Event:
        """Stop the thread until the event is set; it is in a group of its own."""
        held, go_on = threading.Event(), threading.Event()

        def work(ledger: Ledger) -> None:
            del ledger
            held.set()
            assert go_on.wait(100)

        self.writer.submit(work)
        assert held.wait(100)
        return go_on

    def put(self, key: str, value: bytes = b"") -> Work:
        return partial(Ledger.apply, compare=(), ops=(Put(key, value),))

    def keys(self) -> list[str]:
        return [str(key) for (key,) in self._reading.execute("SELECT key FROM items ORDER BY key")]

    async def close(self) -> None:
        await self.writer.close()
        self._reading.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path / "state")
    yield bench
    await bench.close()


async def test_what_is_queued_becomes_one_commit_and_one_wake_up(bench: Bench) -> None:
    go_on = bench.hold()
    answers = [bench.writer.submit(bench.put(f"/{number:03}")) for number in range(100)]
    go_on.set()
    assert await asyncio.gather(*answers) == list(range(1, 101))
    assert bench.writer.flushes == 1
    assert bench.wakes == 2
    assert len(bench.keys()) == 100


async def test_a_group_has_its_limit(bench: Bench) -> None:
    go_on = bench.hold()
    answers = [bench.writer.submit(bench.put(f"/{number}")) for number in range(GROUP + 1)]
    go_on.set()
    await asyncio.gather(*answers)
    assert bench.writer.flushes == 2


async def test_a_refused_transaction_alone_is_refused(bench: Bench) -> None:
    go_on = bench.hold()
    apply = partial(Ledger.apply, ops=(Put("/refused", b""),))
    answers = [
        bench.writer.submit(bench.put("/a")),
        bench.writer.submit(partial(apply, compare=(Compare("/absent", 7),))),
        bench.writer.submit(
            partial(Ledger.apply, compare=(), ops=(Put("/refused", b"", LeaseId(7)),))
        ),
        bench.writer.submit(partial(apply, compare=(Compare("/a", 0),))),
        bench.writer.submit(bench.put("/b")),
    ]
    go_on.set()
    outcomes = await asyncio.gather(*answers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [int, Conflict, LeaseGone, Conflict, int]
    assert (outcomes[0], outcomes[4]) == (1, 2)
    assert bench.keys() == ["/a", "/b"]
    assert bench.writer.flushes == 1


async def test_only_refusals_cost_no_flush(bench: Bench) -> None:
    with pytest.raises(Conflict):
        await bench.writer.submit(partial(Ledger.apply, compare=(Compare("/a", 1),), ops=()))
    assert bench.writer.flushes == 0


async def test_a_cancelled_caller_disturbs_nobody(bench: Bench) -> None:
    go_on = bench.hold()
    first, second = (bench.writer.submit(bench.put(key)) for key in ("/a", "/b"))
    first.cancel()
    go_on.set()
    assert await second == 2
    assert bench.keys() == ["/a", "/b"]


async def test_a_full_disk_refuses_the_group_and_leaves_nothing(bench: Bench) -> None:
    pages = bench.connection.pragma("page_count")
    bench.connection.pragma("max_page_count", pages + 5)
    go_on = bench.hold()
    answers = [bench.writer.submit(bench.put(key, b"x" * 100_000)) for key in ("/a", "/b")]
    go_on.set()
    outcomes = await asyncio.gather(*answers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable, StoreUnavailable]
    assert "full" in str(outcomes[0])
    assert bench.keys() == []
    assert await bench.writer.submit(bench.put("/small")) == 1


async def test_a_bug_in_the_work_reaches_all_who_wait_and_not_the_next(bench: Bench) -> None:
    def wrong(ledger: Ledger) -> None:
        del ledger
        raise ZeroDivisionError

    go_on = bench.hold()
    answers = [bench.writer.submit(work) for work in (bench.put("/a"), wrong)]
    go_on.set()
    outcomes = await asyncio.gather(*answers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError, ZeroDivisionError]
    assert bench.keys() == []
    assert await bench.writer.submit(bench.put("/b")) == 1


async def test_after_damage_nothing_is_written_any_more(bench: Bench) -> None:
    def meet_damage(ledger: Ledger) -> None:
        del ledger
        raise apsw.CorruptError("database disk image is malformed")

    for work in (meet_damage, bench.put("/a")):
        with pytest.raises(StoreDamaged, match="malformed"):
            await bench.writer.submit(work)
    assert bench.keys() == []


async def test_a_wrong_statement_is_not_dressed_up(bench: Bench) -> None:
    def wrong(ledger: Ledger) -> None:
        del ledger
        bench.connection.execute("SELECT nothing FROM nowhere")

    with pytest.raises(apsw.SQLError):
        await bench.writer.submit(wrong)


async def test_what_is_queued_is_finished_before_closing(bench: Bench) -> None:
    go_on = bench.hold()
    answers = [bench.writer.submit(bench.put(f"/{number}")) for number in range(GROUP * 2)]
    closing = asyncio.create_task(bench.writer.close())
    await asyncio.sleep(0)
    go_on.set()
    await closing
    assert len(await asyncio.gather(*answers)) == GROUP * 2
    with pytest.raises(StoreUnavailable):
        bench.writer.submit(bench.put("/late"))


async def test_a_busy_event_loop_does_not_starve_the_writer(tmp_path: Path) -> None:
    """With Python's own switch interval of 5 ms next to nothing is committed here."""
    store = await open_sqlite(tmp_path / "state")
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)
    stop = False

    async def keep_busy() -> None:
        while not stop:
            end = time.perf_counter() + 0.002
            while time.perf_counter() < end:
                pass
            await asyncio.sleep(0)

    async def write() -> None:
        for number in range(100):
            await store.txn([], [Put("/a", b"%d" % number)])

    busy = asyncio.create_task(keep_busy())
    try:
        async with asyncio.timeout(100):
            await asyncio.gather(*(write() for _ in range(10)))
    finally:
        stop = True
        await busy
        sys.setswitchinterval(before)
        await store.close()
    assert store.commits == 1000
