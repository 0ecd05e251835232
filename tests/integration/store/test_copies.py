"""Copies of a state: from either store into either, whole or refused."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from tests.integration.store.conftest import Open
from tests.support.etcd import Etcd

from gantry.jobs import codec
from gantry.main import backups
from gantry.main import store as stores
from gantry.main.bootstrap import Settings, StoreWish, init
from gantry.model.errors import Rejected
from gantry.model.names import Uuid
from gantry.ports.store import Item, LimitExceeded, Put, Range, StoreUnavailable
from gantry.store import backup
from gantry.store.backup import BackupDamaged
from gantry.store.etcd import open_etcd
from gantry.store.etcd.restoring import restore

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
MANY = 350


async def node(root: Path, members: Etcd | None, name: str) -> Path:
    """A node with a new cluster, in etcd or in a file."""
    wish = StoreWish(endpoints=members.urls, prefix=f"/{name}/") if members else None
    settings = Settings(
        cluster_name="cluster.example.com", node_name="node1.example.com",
        primary_ip="127.0.0.1", store=wish,
    )  # fmt: skip
    await init(root, settings, lambda text: None)
    return root


async def change(root: Path, *puts: Put) -> None:
    store = await stores.open_store(root)
    for each in puts:
        await store.txn([], [each])
    await store.close()


async def content(root: Path) -> dict[str, bytes]:
    store = await stores.open_store(root)
    found = await store.range("")
    await store.close()
    return {item.key: item.value for item in found.items}


@pytest.mark.parametrize("source", ["file", "etcd"])
@pytest.mark.parametrize("target", ["file", "etcd"])
async def test_a_copy_of_either_store_comes_back_in_either(
    tmp_path: Path, members: Etcd, source: str, target: str
) -> None:
    def kept(name: str) -> Etcd | None:
        return members if name == "etcd" else None

    mark = f"{source}-{target}"
    one = await node(tmp_path / "one", kept(source), f"{mark}-one")
    await change(one, *(Put(f"jobs/{n}", b"\x00\xff" * 3000 + b"%d" % n) for n in range(MANY)))
    made = await backups.back_up(one, one / backups.DIRECTORY, NOON)
    expected = await content(one)
    assert len(expected) == MANY + 3
    two = await node(tmp_path / "two", kept(target), f"{mark}-two")
    await change(two, Put("jobs/1", b"goes"), Put("only-here", b"goes"))
    before = await content(two)
    aside = await backups.restore(two, made.file, NOON + timedelta(hours=1))
    assert await content(two) == expected
    assert aside is not None
    if target == "etcd":
        # What was there before is a copy like any other.
        await backups.restore(two, aside, NOON + timedelta(hours=2))
        assert await content(two) == before


async def test_what_was_begun_and_not_ended_is_refused_until_it_is_repeated(
    tmp_path: Path, members: Etcd, opened: Open
) -> None:
    root = await node(tmp_path, members, "half")
    made = await backups.back_up(root, root / backups.DIRECTORY, NOON)
    expected = await content(root)
    earlier = await open_etcd(stores.access(root), writer="master")
    items = [Item(f"k{n:04}", b"", 1, 1) for n in range(MANY)]

    async def keep(found: Range) -> None:
        assert {item.key for item in found.items} == set(expected)

    with pytest.raises(LimitExceeded):
        # As if the machine had failed after some hundreds of keys.
        await restore(
            stores.access(root), [*items, Item("z", b"x" * 600_000, 1, 1)], codec.ELECTION, keep
        )
    for attempt in (stores.open_store(root), backups.back_up(root, tmp_path / "no", NOON)):
        with pytest.raises(StoreUnavailable, match="not whole") as caught:
            await attempt
        assert "gantry state restore" in caught.value.hint
    # Nor does a master write that has it open.
    with pytest.raises(StoreUnavailable, match="not whole"):
        await earlier.txn([], [Put(codec.ELECTION, b"")])
    assert await backups.restore(root, made.file, NOON + timedelta(hours=1)) is None
    assert await content(root) == expected
    await earlier.txn([], [Put("again", b"")])
    await earlier.close()


async def test_not_while_a_master_runs_and_not_from_a_damaged_copy(
    tmp_path: Path, members: Etcd
) -> None:
    root = await node(tmp_path, members, "busy")
    made = await backups.back_up(root, root / backups.DIRECTORY, NOON)
    store = await stores.open_store(root)
    lease = await store.grant(60.0)
    await store.txn([], [Put(codec.ELECTION, b"{}", lease.id)])
    with pytest.raises(Rejected, match="a master runs"):
        await backups.restore(root, made.file, NOON)
    await store.txn([], [Put("goes-on", b"")])
    # What a lease holds is in no copy.
    later = await backups.back_up(root, root / backups.DIRECTORY, NOON + timedelta(1), store)
    await lease.revoke()
    await store.close()
    before = await content(root)
    made.file.write_bytes(made.file.read_bytes()[:-1])
    with pytest.raises(BackupDamaged):
        await backups.restore(root, made.file, NOON)
    assert await content(root) == before
    await backups.restore(root, later.file, NOON + timedelta(2))
    assert await content(root) == before


async def test_who_was_master_of_a_file_is_not_master_in_etcd(
    tmp_path: Path, members: Etcd
) -> None:
    one = await node(tmp_path / "one", None, "")
    known = codec.StoredEpoch(epoch=7, node=Uuid("n"))
    await change(one, Put(codec.ELECTION, b"{}"), Put(codec.EPOCH, codec.encode(known)))
    made = await backups.back_up(one, one / backups.DIRECTORY, NOON)
    two = await node(tmp_path / "two", members, "moved")
    await backups.restore(two, made.file, NOON)
    found = await content(two)
    assert codec.ELECTION not in found
    # Agents that are away may have heard of masters that the copy does not know.
    after = codec.decode(codec.EPOCH, found[codec.EPOCH], codec.StoredEpoch)
    assert after.epoch > 1_000_000


async def test_a_cluster_moves_from_a_file_to_etcd_and_back(tmp_path: Path, members: Etcd) -> None:
    """As the documentation says: with ``store.json`` written by hand."""
    root = await node(tmp_path, None, "")
    await change(root, Put("jobs/1", b"{}"))
    expected = await content(root)
    first = await backups.back_up(root, root / backups.DIRECTORY, NOON)
    place = root / stores.CONFIGURATION
    said = {"kind": "etcd", "endpoints": members.urls, "prefix": "/moving/"}
    place.write_bytes(msgspec.json.encode(said))
    assert await backups.restore(root, first.file, NOON) is None
    assert await content(root) == expected
    await change(root, Put("jobs/2", b"{}"))
    second = await backups.back_up(root, root / backups.DIRECTORY, NOON + timedelta(hours=1))
    place.unlink()
    assert await content(root) == expected
    await backups.restore(root, second.file, NOON + timedelta(hours=2))
    assert await content(root) == {**expected, "jobs/2": b"{}"}


async def test_what_cannot_be_kept_aside_leaves_all_as_it_was(
    tmp_path: Path, members: Etcd
) -> None:
    root = await node(tmp_path, members, "aside")
    expected = await content(root)

    async def keep(found: Range) -> None:
        del found
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        await restore(stores.access(root), [Item("a", b"", 1, 1)], codec.ELECTION, keep)
    assert await content(root) == expected


async def test_a_copy_a_day_is_made_and_a_week_of_them_kept(tmp_path: Path, members: Etcd) -> None:
    root = await node(tmp_path, members, "daily")
    store = await stores.open_store(root)
    for day in range(10):
        for hour in (1, 2):
            await backups.daily(root, NOON + timedelta(days=day, hours=hour), store)
    await store.close()
    copies = backup.list_backups(root / backups.DIRECTORY)
    days = [copy.record.taken.day for copy in copies]
    assert days == [(NOON + timedelta(days=day)).day for day in range(9, 2, -1)]


async def test_after_a_restore_watches_begin_at_its_revision(tmp_path: Path, members: Etcd) -> None:
    root = await node(tmp_path, members, "watched")
    made = await backups.back_up(root, root / backups.DIRECTORY, NOON)
    await backups.restore(root, made.file, NOON + timedelta(hours=1))
    store = await stores.open_store(root)
    found = await store.range("")
    async with contextlib.aclosing(store.watch("", found.revision)) as watch:
        revision = await store.txn([], [Put("new", b"1")])
        async with asyncio.timeout(100):
            (event,) = await anext(watch)
    await store.close()
    assert (event.key, event.revision) == ("new", revision)
