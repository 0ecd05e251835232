"""How fast the SQLite store is, beside a bare apsw loop that does the same writes.

    .venv/bin/python -m benchmarks.store [--runs 5] [--directory DIR]

Medians over the runs, 1.4 KB values. The directory decides which disk is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import apsw

from gantry.ports.store import Compare, Put, Store
from gantry.store.sqlite import SqliteStore, open_sqlite

VALUE = b"x" * 1400
SINGLE = 2_000
CLIENTS = 50
EACH = 400
KEYS = 1_000

Figures = dict[str, float]


def bare_loop(path: Path, per_commit: int, commits: int) -> float:
    """Puts a second of a loop with the same statements, no threads, no event loop."""
    connection = apsw.Connection(str(path))
    for statement in (
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "CREATE TABLE items (key TEXT PRIMARY KEY, value BLOB, revision INTEGER)",
        "CREATE TABLE history (number INTEGER PRIMARY KEY, key TEXT, value BLOB)",
    ):
        connection.execute(statement).fetchall()
    start = time.perf_counter()
    revision = 0
    for _ in range(commits):
        connection.execute("BEGIN IMMEDIATE")
        for _ in range(per_commit):
            revision += 1
            key = f"/bench/{revision % KEYS}"
            connection.execute("SELECT revision FROM items WHERE key = ?", (key,)).fetchall()
            connection.execute(
                "INSERT OR REPLACE INTO items VALUES (?, ?, ?)", (key, VALUE, revision)
            )
            connection.execute("INSERT INTO history VALUES (?, ?, ?)", (revision, key, VALUE))
        connection.execute("COMMIT")
    taken = time.perf_counter() - start
    connection.close()
    return revision / taken


async def single(store: Store) -> Figures:
    """One client, one put after the other, each compared."""
    times, revisions = [], [0] * KEYS
    for number in range(SINGLE):
        key = f"/single/{number % KEYS}"
        start = time.perf_counter()
        revisions[number % KEYS] = await store.txn(
            [Compare(key, revisions[number % KEYS])], [Put(key, VALUE)]
        )
        times.append(time.perf_counter() - start)
    times.sort()
    return {
        "single put, p50 ms": times[SINGLE // 2] * 1e3,
        "single put, p99 ms": times[SINGLE * 99 // 100] * 1e3,
        "single puts/s": SINGLE / sum(times),
    }


async def grouped(store: SqliteStore) -> Figures:
    """Fifty clients at once, each with its own key, compared."""
    flushes = store.flushes
    times: list[float] = []

    async def client(number: int) -> None:
        revision, key = 0, f"/grouped/{number}"
        for _ in range(EACH):
            start = time.perf_counter()
            revision = await store.txn([Compare(key, revision)], [Put(key, VALUE)])
            times.append(time.perf_counter() - start)

    start = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    taken = time.perf_counter() - start
    times.sort()
    return {
        f"{CLIENTS} clients, puts/s": len(times) / taken,
        f"{CLIENTS} clients, p50 ms": times[len(times) // 2] * 1e3,
        f"{CLIENTS} clients, p99 ms": times[len(times) * 99 // 100] * 1e3,
        f"{CLIENTS} clients, puts a flush": len(times) / (store.flushes - flushes),
    }


async def reads(store: Store) -> Figures:
    """One key, and all thousand below a prefix."""
    start = time.perf_counter()
    for number in range(KEYS):
        await store.get(f"/single/{number}")
    got = time.perf_counter()
    found = await store.range("/single/")
    ranged = time.perf_counter()
    assert len(found.items) == KEYS
    return {"get, µs": (got - start) / KEYS * 1e6, "range of 1,000, ms": (ranged - got) * 1e3}


async def wake(store: Store) -> Figures:
    """From the call of a put to the event in a watch that waits."""
    times = []
    watch = store.watch("/woken", (await store.range("/woken")).revision)
    for _ in range(500):
        event = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        start = time.perf_counter()
        put = asyncio.ensure_future(store.txn([], [Put("/woken", VALUE)]))
        await event
        times.append(time.perf_counter() - start)
        await put
    await watch.aclose()
    return {"put to watch, p50 ms": statistics.median(times) * 1e3}


async def run(directory: Path) -> Figures:
    """All measurements once, on a new file."""
    figures: Figures = {
        "bare loop, 1 a commit, puts/s": bare_loop(directory / "bare1", 1, SINGLE),
        "bare loop, 25 a commit, puts/s": bare_loop(directory / "bare25", 25, CLIENTS * EACH // 25),
    }
    store = await open_sqlite(directory / "state")
    parts: list[Callable[[SqliteStore], Awaitable[Figures]]] = [single, grouped, reads, wake]
    for part in parts:
        figures |= await part(store)
    await store.close()
    figures["single / bare loop"] = figures["single puts/s"] / figures[next(iter(figures))]
    figures[f"{CLIENTS} clients / bare loop"] = (
        figures[f"{CLIENTS} clients, puts/s"] / figures["bare loop, 25 a commit, puts/s"]
    )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=None)
    arguments = parser.parse_args()
    sys.setswitchinterval(0.0001)
    results = []
    for _ in range(arguments.runs):
        with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
            results.append(asyncio.run(run(Path(directory))))
    print(f"{'':34} {'median':>10} {'least':>10} {'most':>10}")
    for name in results[0]:
        values = [result[name] for result in results]
        print(
            f"{name:34} {statistics.median(values):10.2f} {min(values):10.2f} {max(values):10.2f}"
        )


if __name__ == "__main__":
    main()
