"""Members that die, freeze, run out of disk, or come back; the store goes on where it can."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.integration.store.conftest import Open
from tests.support.etcd import Etcd, etcd

from gantry.ports.store import Compacted, Compare, Put, Store, StoreUnavailable
from gantry.store.etcd import EtcdStore, Patience
from gantry.store.etcd.horizon import Horizon

SECONDS = 60.0
SHORT = Patience(tries=(0.3, 0.5), whole=3.0)


class Writing:
    """Clients that write without a pause, each to a key of its own."""

    def __init__(self, store: Store, name: str = "c") -> None:
        self.acknowledged: dict[str, int] = {}
        self.more = asyncio.Event()
        self._store = store
        self._clients = [asyncio.create_task(self._write(f"{name}{n}")) for n in range(4)]

    async def _write(self, key: str) -> None:
        revision, number = 0, 0
        while True:
            number += 1
            revision = await self._store.txn([Compare(key, revision)], [Put(key, b"%d" % number)])
            self.acknowledged[key] = number
            self.more.set()

    async def goes_on(self) -> None:
        """Every client has written since the call, twice: so once after it for certain."""
        at = dict(self.acknowledged)
        async with asyncio.timeout(SECONDS):
            while len(self.acknowledged) < len(self._clients) or any(
                self.acknowledged[key] < at.get(key, 0) + 2 for key in self.acknowledged
            ):
                self.more.clear()
                more = asyncio.create_task(self.more.wait())
                await asyncio.wait([more, *self._clients], return_when=asyncio.FIRST_COMPLETED)
                more.cancel()
                failed = [each for each in self._clients if each.done()]
                assert not failed, failed[0].exception()

    async def failures(self) -> list[BaseException]:
        """Of all clients, which end by themselves."""
        async with asyncio.timeout(SECONDS):
            await asyncio.wait(self._clients)
        return [failure for each in self._clients if (failure := each.exception()) is not None]

    async def end(self) -> list[BaseException]:
        """Whatever failed until now."""
        for each in self._clients:
            each.cancel()
        outcomes = await asyncio.gather(*self._clients, return_exceptions=True)
        return [
            each
            for each in outcomes
            if each is not None and not isinstance(each, asyncio.CancelledError)
        ]

    async def check(self, store: Store) -> None:
        """What was acknowledged is there; one more may have been under way."""
        for key, number in self.acknowledged.items():
            item = await store.get(key)
            assert item is not None
            assert int(item.value) in (number, number + 1)


@contextlib.asynccontextmanager
async def writing(store: Store, name: str = "c") -> AsyncIterator[Writing]:
    made = Writing(store, name)
    try:
        await made.goes_on()
        yield made
    finally:
        failures = await made.end()
    assert not failures
    await made.check(store)


async def test_one_member_lost_does_not_matter(own_members: Etcd, opened: Open) -> None:
    store = await opened(own_members.urls)
    async with writing(store) as made:
        # The member that the store talks to, so that it must find another.
        own_members.members[0].kill()
        await made.goes_on()
        own_members.start(own_members.members[0])
        own_members.wait_ready()
        await made.goes_on()


async def test_the_leader_killed_during_writes(own_members: Etcd, opened: Open) -> None:
    store = await opened(own_members.urls)
    async with writing(store) as made:
        for _ in range(2):
            leader = own_members.leader()
            leader.kill()
            await made.goes_on()
            own_members.start(leader)
            own_members.wait_ready()


async def test_a_frozen_leader_is_left_behind(own_members: Etcd, opened: Open) -> None:
    store = await opened(own_members.urls)
    async with writing(store) as made:
        leader = own_members.leader()
        leader.freeze()
        await made.goes_on()
        leader.thaw()
        await made.goes_on()


async def test_a_lease_is_kept_over_a_change_of_the_leader(own_members: Etcd, opened: Open) -> None:
    store = await opened(own_members.urls)
    lease = await store.grant(20.0)
    await store.txn([], [Put("held", b"", lease.id)])
    leader = own_members.leader()
    leader.freeze()
    try:
        async with asyncio.timeout(20.0):
            await lease.keep_alive()
    finally:
        leader.thaw()
    await lease.keep_alive()
    assert await store.get("held") is not None


async def test_two_members_lost_is_said_and_nothing_acknowledged_is_lost(
    own_members: Etcd, opened: Open
) -> None:
    store = await opened(own_members.urls, patience=SHORT)
    made = Writing(store)
    await made.goes_on()
    gone = own_members.followers()
    for member in gone:
        member.kill()
    failures = await made.failures()
    assert len(failures) == 4
    said = failures[0]
    assert isinstance(said, StoreUnavailable)
    for member in gone:
        assert f"{member.url}: Connection refused" in said.message
    assert "majority" in said.hint
    with pytest.raises(StoreUnavailable):
        await store.get("c0")
    own_members.start(*gone)
    own_members.wait_ready()
    await made.check(store)
    async with writing(store, "again"):
        pass


async def test_a_watch_goes_on_elsewhere_without_a_gap(own_members: Etcd, opened: Open) -> None:
    store = await opened(own_members.urls)
    before = (await store.range("")).revision

    async def follow() -> list[bytes | None]:
        found: list[bytes | None] = []
        async with contextlib.aclosing(store.watch("w", before)) as watch:
            async for transaction in watch:
                found += [event.value for event in transaction]
                if len(found) == 60:
                    break
        return found

    following = asyncio.create_task(follow())
    number = 0
    for member in (own_members.members[0], own_members.members[1]):
        for _ in range(15):
            await store.txn([], [Put("w", b"%d" % number)])
            number += 1
        member.kill()
        for _ in range(15):
            await store.txn([], [Put("w", b"%d" % number)])
            number += 1
        own_members.start(member)
        own_members.wait_ready()
    async with asyncio.timeout(SECONDS):
        assert await following == [b"%d" % each for each in range(60)]


async def test_a_watch_at_a_frozen_member_is_opened_elsewhere(
    own_members: Etcd, opened: Open
) -> None:
    store = await opened(own_members.urls)
    writer = await opened(own_members.urls[1:])
    before = (await store.range("")).revision
    async with contextlib.aclosing(store.watch("w", before)) as watch:
        first = asyncio.create_task(anext(watch))
        await writer.txn([], [Put("w", b"1")])
        async with asyncio.timeout(SECONDS):
            await first
            own_members.members[0].freeze()
            try:
                await writer.txn([], [Put("w", b"2")])
                (event,) = await anext(watch)
            finally:
                own_members.members[0].thaw()
    assert event.value == b"2"


async def test_history_is_bounded_by_the_writer(own_members: Etcd, opened: Open) -> None:
    store = await opened(own_members.urls)
    store._horizon = Horizon(keep_revisions=64, keep_bytes=10**9)
    for number in range(200):
        await store.txn([], [Put("a", b"%d" % number)])
    found = await store.range("")
    with pytest.raises(Compacted):
        async with asyncio.timeout(SECONDS):
            await anext(store.watch("", found.revision - 150))
    async with contextlib.aclosing(store.watch("", found.revision - 40)) as watch:
        (event,) = await anext(watch)
        assert event.revision == found.revision - 39


async def fill(store: EtcdStore) -> StoreUnavailable:
    """Write until etcd takes no more; nothing acknowledged may be lost."""
    for number in range(200):
        try:
            await store.txn([], [Put(f"f{number}", os.urandom(400_000))])
        except StoreUnavailable as error:
            items = (await store.range("f")).items
            assert len(items) in (number, number + 1)
            return error
    raise AssertionError("etcd takes more than its quota")


async def test_a_quota_that_is_used_up_is_explained_and_heals(opened: Open) -> None:
    with etcd(1, ["--quota-backend-bytes", str(16 * 1024 * 1024)]) as made:
        store = await opened(made.urls, writer="filler")
        error = await fill(store)
        assert "NOSPACE" in error.message
        assert "etcdctl defrag" in error.hint
        with pytest.raises(StoreUnavailable, match="NOSPACE"):
            await store.txn([], [Put("small", b"")])
        # What the hint and the documentation say.
        keys = [item.key for item in (await store.range("f")).items]
        control = ["etcdctl", "--endpoints", made.urls[0]]
        environment = {**os.environ, "ETCDCTL_API": "3"}
        prefix = store.access.prefix
        for command in (
            *(["del", f"{prefix}d/{key}"] for key in keys[1:]),
            ["compact", str((await store.range("")).revision + len(keys) - 1)],
            ["defrag"],
            ["alarm", "disarm"],
        ):
            await asyncio.to_thread(
                subprocess.run, [*control, *command], env=environment, check=True, timeout=30
            )
        await store.txn([], [Put("small", b"")])
        assert [item.key for item in (await store.range("")).items] == ["f0", "small"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    # A member's log takes two pieces of 64 MB at once.
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=180m", "tmpfs", str(place)], check=True, timeout=20
    )
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True, timeout=20)


@pytest.mark.root
async def test_a_member_whose_disk_is_full_is_a_lost_one(
    own_members: Etcd, opened: Open, small_disk: Path
) -> None:
    store = await opened(own_members.urls)
    member = own_members.followers()[0]
    member.kill()
    # It comes back on a small disk, with all that it had.
    shutil.copytree(member.data, small_disk / "data")
    member.data = small_disk / "data"
    own_members.start(member)
    own_members.wait_ready()
    async with writing(store) as made:
        with contextlib.suppress(OSError), (small_disk / "ballast").open("wb") as ballast:
            while True:
                ballast.write(b"\0" * 65536)
        process = member.process
        assert process is not None
        number = 0
        async with asyncio.timeout(SECONDS):
            while process.poll() is None:
                await store.txn([], [Put(f"large{number % 20}", os.urandom(400_000))])
                number += 1
        await made.goes_on()
    ended_by = process.poll()
    assert ended_by == -signal.SIGBUS or "no space left" in member.log.read_text()


async def test_a_watch_notices_that_etcd_was_set_back_to_an_older_copy(
    opened: Open, members: Etcd
) -> None:
    store = await opened(members.urls)
    revision = await store.txn([], [Put("a", b"1")])
    # What was seen of the etcd that there was before.
    watch = store.watch("a", revision + 1_000_000)
    async with asyncio.timeout(SECONDS), contextlib.aclosing(watch):
        with pytest.raises(Compacted):
            await anext(watch)
