"""After many jobs the store has grown by no more than the live state, on both stores."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path

import apsw
import pytest
from tests.fakes.cluster import FakeCluster, instance
from tests.integration.store.conftest import Open
from tests.support.cluster import eventually
from tests.support.etcd import Etcd, Member

from gantry.model.jobs import JobStatus
from gantry.ports.store import Store
from gantry.store.etcd import Patience
from gantry.store.etcd.horizon import Horizon
from gantry.store.sqlite import open_sqlite

DUMMY = {"OP_ID": "OP_TEST_DUMMY"}
CLIENTS = 50
KEPT = 500
"""Revisions of history, and bytes of values in it."""
KEPT_BYTES = 1024 * 1024
LIVE_BYTES = 4096
"""By which the live state may differ: who is master, the last number of a job."""
DATABASE_BYTES = 4 * 1024 * 1024
MANY = [pytest.param(3_000), pytest.param(100_000, marks=[pytest.mark.long])]


async def work(store: Store, jobs: int) -> None:
    """Run that many jobs, put them away as the master's chore does, and look at what is left."""
    cluster = await FakeCluster.make([instance(1), instance(2, node=2)], store=store)
    engine = await cluster.start()
    await cluster.run(DUMMY)
    await engine.auto_archive(0)
    before = await content(store)
    left = iter(range(jobs))

    async def client() -> None:
        for number in left:
            job = await cluster.run(DUMMY)
            assert job.status is JobStatus.SUCCESS
            if number % 500 == 499:
                await engine.auto_archive(0)

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    await engine.settle()
    await engine.auto_archive(0)
    after = await content(store)
    assert set(after) == set(before)
    assert sum(map(len, after.values())) - sum(map(len, before.values())) <= LIVE_BYTES
    await cluster.crash()


async def content(store: Store) -> dict[str, bytes]:
    return {item.key: item.value for item in (await store.range("")).items}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("jobs", MANY)
async def test_a_file_stays_small(tmp_path: Path, jobs: int) -> None:
    store = await open_sqlite(tmp_path / "state", keep_revisions=KEPT, keep_bytes=KEPT_BYTES)
    await work(store, jobs)
    await store.close()
    database = apsw.Connection(str(tmp_path / "state"))
    pages = int(database.pragma("page_count")) - int(database.pragma("freelist_count"))
    assert pages * int(database.pragma("page_size")) <= DATABASE_BYTES
    database.close()
    assert (tmp_path / "state").stat().st_size <= 4 * DATABASE_BYTES


@pytest.fixture
async def store_on_etcd(own_members: Etcd, opened: Open) -> Store:
    store = await opened(own_members.urls, patience=Patience())
    store._horizon = Horizon(keep_revisions=KEPT, keep_bytes=KEPT_BYTES)
    return store


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("jobs", MANY)
async def test_etcd_stays_small_and_gives_space_back_when_defragmented(
    own_members: Etcd, store_on_etcd: Store, jobs: int
) -> None:
    await work(store_on_etcd, jobs)
    for member in own_members.members:
        # Compaction goes on in the background.
        eventually(
            f"the history of {member.name} is dropped",
            functools.partial(small, own_members, member),
        )
        own_members.ask(member, "/v3/maintenance/defragment", {})
        assert size(own_members, "dbSize", member) <= DATABASE_BYTES


def small(members: Etcd, member: Member) -> bool:
    return size(members, "dbSizeInUse", member) <= DATABASE_BYTES


def size(members: Etcd, what: str, member: Member) -> int:
    """Bytes."""
    return int(members.ask(member, "/v3/maintenance/status", {})[what])
