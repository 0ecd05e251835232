"""The state file: locked, damaged, missing, pruned, shared."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import apsw
import pytest

from gantry.ports.store import Compacted, Put, StoreDamaged, StoreLocked, StoreUnavailable
from gantry.store.sqlite import open_sqlite
from gantry.store.sqlite.schema import connect


async def filled(path: Path) -> None:
    store = await open_sqlite(path)
    for number in range(50):
        await store.txn([], [Put(f"/{number}", os.urandom(3000))])
    await store.close()


async def test_a_second_opener_is_refused_with_the_holders_pid(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path / "state")
    with pytest.raises(StoreLocked, match=f"process {os.getpid()}$"):
        await open_sqlite(tmp_path / "state")
    with pytest.raises(StoreLocked):
        await open_sqlite(tmp_path / "state", exclusive=False)
    await store.close()
    again = await open_sqlite(tmp_path / "state")
    await again.close()


async def test_sharers_keep_an_exclusive_opener_out(tmp_path: Path) -> None:
    sharers = [await open_sqlite(tmp_path / "state", exclusive=False) for _ in range(2)]
    with pytest.raises(StoreLocked):
        await open_sqlite(tmp_path / "state")
    await sharers[0].txn([], [Put("/a", b"1")])
    assert await sharers[1].get("/a") is not None
    for sharer in sharers:
        await sharer.close()


async def test_a_sharers_watch_hears_another_sharer(tmp_path: Path) -> None:
    one, two = [await open_sqlite(tmp_path / "state", exclusive=False) for _ in range(2)]
    async with contextlib.aclosing(two.watch("/", 0)) as watch, asyncio.timeout(100):
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        await one.txn([], [Put("/a", b"1")])
        assert [event.key for event in await waiting] == ["/a"]
    await one.close()
    await two.close()


async def test_a_commit_waits_for_the_disk_and_a_reader_cannot_write(tmp_path: Path) -> None:
    await filled(tmp_path / "state")
    writing, reading = connect(tmp_path / "state"), connect(tmp_path / "state", reading=True)
    assert writing.pragma("journal_mode") == "wal"
    assert writing.pragma("synchronous") == 2
    with pytest.raises(apsw.ReadOnlyError):
        reading.execute("DELETE FROM items")
    reading.close()
    writing.close()


async def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path / "state")
    await store.txn([], [Put("/a", b"1")])
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    await store.close()


@pytest.mark.parametrize(("place", "length"), [(0, 100), (4096 * 3, 2000), (4096 * 8, 4096)])
async def test_a_damaged_file_is_named_with_the_way_back(
    tmp_path: Path, place: int, length: int
) -> None:
    path = tmp_path / "state"
    await filled(path)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\xaa" * length)
    with pytest.raises(StoreDamaged) as caught:
        await open_sqlite(path)
    assert str(path) in str(caught.value)
    assert "gantry state restore" in caught.value.hint
    with pytest.raises(StoreDamaged):
        await open_sqlite(path)


async def test_a_truncated_file_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "state"
    await filled(path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(StoreDamaged):
        await open_sqlite(path)


async def test_an_empty_or_missing_file_is_never_taken_for_a_new_one(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="there is no state file"):
        await open_sqlite(tmp_path / "state", create=False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "state").touch()
    with pytest.raises(StoreDamaged, match="empty"):
        await open_sqlite(tmp_path / "state", create=False)


async def test_a_file_of_something_else_or_of_a_newer_version_is_left_alone(
    tmp_path: Path,
) -> None:
    other = apsw.Connection(str(tmp_path / "other"))
    other.execute("CREATE TABLE mine (x)")
    other.close()
    await filled(tmp_path / "newer")
    newer = apsw.Connection(str(tmp_path / "newer"))
    newer.pragma("user_version", 99)
    newer.close()
    for name in ("other", "newer"):
        with pytest.raises(StoreUnavailable, match="no state file of this version"):
            await open_sqlite(tmp_path / name)


async def test_a_missing_directory_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="No such file or directory"):
        await open_sqlite(tmp_path / "absent" / "state")


async def test_history_is_pruned_by_itself(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path / "state", keep_revisions=100)
    for number in range(500):
        await store.txn([], [Put("/a", b"%d" % number)])
    with pytest.raises(Compacted):
        await anext(store.watch("/", 100))
    async with contextlib.aclosing(store.watch("/", 400)) as watch:
        assert (await anext(watch))[0].revision == 401
    await store.close()
    reading = apsw.Connection(str(tmp_path / "state"))
    assert 100 <= reading.execute("SELECT count(*) FROM history").get <= 102
    reading.close()


async def test_history_is_bounded_by_its_bytes_too_also_of_a_file_that_had_more(
    tmp_path: Path,
) -> None:
    store = await open_sqlite(tmp_path / "state")
    first = await store.txn([], [Put("/a", b"0")])
    for _ in range(100):
        await store.txn([], [Put("/a", b"x" * 500_000), Put("/b", b"y" * 1000)])
    await store.close()
    store = await open_sqlite(tmp_path / "state", keep_bytes=5_000_000)
    last = 0
    for number in range(20):
        last = await store.txn([], [Put("/a", b"%d" % number * 250_000)])
    with pytest.raises(Compacted):
        await anext(store.watch("/", first))
    async with contextlib.aclosing(store.watch("/", last - 1)) as watch:
        assert (await anext(watch))[0].revision == last
    await store.close()
    reading = apsw.Connection(str(tmp_path / "state"))
    assert 2_000_000 <= reading.execute("SELECT sum(length(value)) FROM history").get <= 5_000_000
    # No transaction is there by half.
    pairs = reading.execute(
        "SELECT count(*) FROM history WHERE key = '/b'"
        " AND number - 1 NOT IN (SELECT number FROM history)"
    ).get
    assert pairs == 0
    reading.close()
