"""Copies of the state file: taken under load, checked, brought back, rotated."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gantry.model.errors import Rejected
from gantry.ports.store import Put, StoreDamaged, StoreLocked, StoreUnavailable
from gantry.store.backup import (
    Backup,
    BackupDamaged,
    Record,
    backup,
    is_due,
    list_backups,
    remove,
    restore,
    surplus,
    verify,
)
from gantry.store.sqlite import open_sqlite

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


async def write(path: Path, value: bytes) -> None:
    store = await open_sqlite(path)
    await store.txn([], [Put("/a", value)])
    await store.close()


async def read(path: Path) -> bytes | None:
    store = await open_sqlite(path, create=False)
    item = await store.get("/a")
    await store.close()
    return item.value if item else None


async def test_a_copy_taken_under_load_is_whole_and_comes_back(tmp_path: Path) -> None:
    state = tmp_path / "state"
    store = await open_sqlite(state)

    async def count() -> None:
        for number in range(500):
            await store.txn([], [Put("/a", b"%d" % number), Put("/b", b"%d" % number)])

    counting = asyncio.create_task(count())
    await store.txn([], [Put("/first", b"")])
    copy = await asyncio.to_thread(backup, state, tmp_path / "copies", NOON)
    await counting
    await store.close()
    assert verify(copy.file) == copy
    assert restore(state, copy.file, NOON) is not None
    store = await open_sqlite(state, create=False)
    found = await store.range("")
    assert found.revision == copy.record.revision
    values = {item.key: item.value for item in found.items}
    assert values.get("/a") == values.get("/b")
    assert await store.txn([], [Put("/a", b"")]) == found.revision + 1
    await store.close()


async def test_a_damaged_file_is_kept_aside_with_its_log(tmp_path: Path) -> None:
    state = tmp_path / "state"
    await write(state, b"good")
    copy = backup(state, tmp_path / "copies", NOON)
    state.write_bytes(b"garbage" * 1000)
    with pytest.raises(StoreDamaged):
        await open_sqlite(state)
    (tmp_path / "state-wal").write_bytes(b"old log")
    kept = restore(state, copy.file, NOON)
    assert kept is not None
    assert kept.name.startswith("state.damaged-20261121T120000")
    assert kept.read_bytes().startswith(b"garbage")
    assert kept.with_name(kept.name + "-wal").read_bytes() == b"old log"
    assert not (tmp_path / "state-wal").exists()
    assert await read(state) == b"good"


async def test_a_missing_file_comes_back(tmp_path: Path) -> None:
    state = tmp_path / "state"
    await write(state, b"good")
    copy = backup(state, tmp_path / "copies", NOON)
    state.unlink()
    assert restore(state, copy.file, NOON) is None
    assert await read(state) == b"good"
    assert state.stat().st_mode & 0o777 == 0o600


async def test_restore_is_refused_while_a_master_runs(tmp_path: Path) -> None:
    state = tmp_path / "state"
    store = await open_sqlite(state)
    await store.txn([], [Put("/a", b"now")])
    copy = backup(state, tmp_path / "copies", NOON)
    with pytest.raises(StoreLocked):
        restore(state, copy.file, NOON)
    await store.close()
    assert await read(state) == b"now"


@pytest.mark.parametrize("what", ["changed", "shorter", "gone", "no record", "bad record"])
async def test_a_damaged_copy_is_refused_and_changes_nothing(tmp_path: Path, what: str) -> None:
    state = tmp_path / "state"
    await write(state, b"old")
    copy = backup(state, tmp_path / "copies", NOON)
    await write(state, b"new")
    record = copy.file.with_suffix(".json")
    if what == "changed":
        content = bytearray(copy.file.read_bytes())
        content[-1] ^= 1
        copy.file.write_bytes(content)
    elif what == "shorter":
        copy.file.write_bytes(copy.file.read_bytes()[:-1])
    elif what == "gone":
        copy.file.unlink()
    elif what == "no record":
        record.unlink()
    else:
        record.write_text("{")
    with pytest.raises(BackupDamaged):
        restore(state, copy.file, NOON)
    assert not list(tmp_path.glob("state.damaged*"))
    assert await read(state) == b"new"


async def test_a_state_file_that_cannot_be_copied_leaves_no_copy(tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    with pytest.raises(StoreUnavailable):
        backup(tmp_path / "absent", copies, NOON)
    (tmp_path / "state").write_bytes(b"garbage" * 1000)
    with pytest.raises(StoreDamaged):
        backup(tmp_path / "state", copies, NOON)
    assert list(copies.iterdir()) == []


async def test_copies_are_listed_newest_first_and_only_whole_ones(tmp_path: Path) -> None:
    state, copies = tmp_path / "state", tmp_path / "copies"
    assert list_backups(copies) == ()
    await write(state, b"1")
    older = backup(state, copies, NOON)
    newer = backup(state, copies, NOON + timedelta(seconds=1))
    with pytest.raises(Rejected, match="there already"):
        backup(state, copies, NOON)
    (copies / "state-half.sqlite").touch()
    assert list_backups(copies) == (newer, older)
    remove(newer)
    assert list_backups(copies) == (older,)


def copy_at(moment: datetime) -> Backup:
    record = Record(taken=moment, size_bytes=0, sha256="", revision=0)
    return Backup(file=Path(moment.isoformat()), record=record)


def test_each_days_last_copy_of_seven_days_stays() -> None:
    days = [copy_at(NOON - timedelta(days=back)) for back in range(10)]
    earlier = copy_at(NOON - timedelta(hours=3))
    assert set(surplus([earlier, *days])) == {earlier, *days[7:]}
    assert surplus(days[:7]) == ()
    assert surplus([]) == ()


def test_days_without_a_copy_do_not_count() -> None:
    weeks = [copy_at(NOON - timedelta(weeks=back)) for back in range(8)]
    assert surplus(weeks) == (weeks[7],)


def test_a_copy_is_due_once_a_day() -> None:
    midnight = datetime(2026, 11, 21, tzinfo=UTC)
    assert is_due([], NOON)
    assert is_due([copy_at(midnight - timedelta(seconds=1))], midnight)
    assert not is_due([copy_at(midnight)], NOON)
