"""What QEMU counted of mirrored disks outlives an orderly end, and nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from tests.support.agent_process import TestAuthority
from tests.support.replica_nodes import Primary, ReplicaNode, disk_spec, guest_spec

from gantry.hypervisors.kvm import resync
from gantry.model import timeouts
from gantry.model.errors import GantryError
from gantry.model.live import GuestState, MirrorPhase
from gantry.model.orders import DiskSpec, GuestSpec

pytestmark = pytest.mark.qemu
UNWRITTEN = 7 << 20
"""Where the guest never writes."""
MARK = b"not copied"


@dataclass
class Pair:
    """A guest's node, and that of its replica; ``disk`` is mirrored nowhere by itself."""

    primary: Primary
    here: ReplicaNode
    there: ReplicaNode
    disk: DiskSpec
    guest: GuestSpec

    async def run(self, *, mirrored: bool) -> None:
        """The guest writes, with its replica in sync, or without it."""
        targets = [await self.there.serve(self.disk, self.here)] if mirrored else []
        spec = msgspec.structs.replace(self.guest, disks=guest_spec(self.disk, *targets).disks)
        await self.primary.driver.start(spec)
        await self.primary.writes(spec)

    async def stop(self) -> None:
        await self.primary.driver.stop(self.guest.uuid, timeout=5, force=True)
        assert (await self.here.seen(self.disk)).clean

    async def away(self) -> None:
        """The replica is not served any more; a part of it that a partial copy leaves is marked.

        Behind the back of its record, which an orderly end of the daemon would close.
        """
        if self.there.daemons.served(self.disk.uuid) is not None:
            await self.there.vanish(self.disk)
        with self.there.path(self.disk).open("r+b") as file:
            file.seek(UNWRITTEN)
            file.write(MARK)

    async def back(self) -> bool:
        """It is attached again, and ready; whether all of it was copied."""
        await self.there.restart_agent()
        target = await self.there.serve(self.disk, self.here, overwrite=True, full=True)
        await self.primary.driver.attach_mirror(self.guest.uuid, 0, target)
        await self.primary.phase(self.there, MirrorPhase.READY)
        await self.primary.writes(self.guest)
        await self.stop()
        mine, theirs = (node.path(self.disk).read_bytes() for node in (self.here, self.there))
        assert theirs[:UNWRITTEN] == mine[:UNWRITTEN]
        return not theirs[UNWRITTEN:].startswith(MARK)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    ca = TestAuthority(tmp_path)
    here, there = (ReplicaNode(tmp_path / name, ca, name) for name in ("node1", "node2"))
    disk = disk_spec()
    for node in (here, there):
        await node.create(disk)
    primary = Primary(here)
    await primary.open()
    yield Pair(primary, here, there, disk, guest_spec(disk))
    await primary.close()
    await there.close(disk)


async def test_a_replica_that_was_left_behind_lacks_the_same_after_orderly_ends(
    pair: Pair,
) -> None:
    await pair.run(mirrored=True)
    await pair.away()
    await pair.primary.phase(pair.there, MirrorPhase.LOST)
    await pair.primary.driver.release_mirror(pair.guest.uuid, 0, pair.there.uuid)
    await pair.primary.writes(pair.guest)
    for _ in range(2):
        await pair.stop()
        assert pair.here.storage.bitmaps(pair.disk).exists()
        await pair.run(mirrored=False)
        assert await pair.here.storage.kept([pair.disk]) == frozenset()

    assert await pair.back() is False


@pytest.mark.parametrize("away", [False, True])
async def test_of_one_that_is_none_any_more_nothing_is_known_and_nothing_kept(
    pair: Pair, away: bool
) -> None:
    await pair.run(mirrored=True)
    driver = pair.primary.driver
    monitor = await driver._running[pair.guest.uuid].monitor(timeouts.QMP)
    assert (await resync.known(monitor, 0)).keys() == {pair.there.uuid}
    if away:  # and it had been left behind before
        await pair.away()
        await pair.primary.phase(pair.there, MirrorPhase.LOST)
        await driver.release_mirror(pair.guest.uuid, 0, pair.there.uuid)
        assert (await resync.known(monitor, 0)).keys() == {pair.there.uuid}
    for _ in range(2):
        await driver.release_mirror(pair.guest.uuid, 0, pair.there.uuid, forget=True)
        assert await resync.known(monitor, 0) == {}

    await pair.primary.writes(pair.guest)
    await pair.stop()
    assert not pair.here.storage.bitmaps(pair.disk).exists()
    await pair.away()
    await pair.run(mirrored=False)
    assert await pair.back() is True


async def test_a_replica_that_was_in_sync_at_the_end_and_not_there_at_the_start(
    pair: Pair,
) -> None:
    await pair.run(mirrored=True)
    await pair.stop()
    await pair.away()
    await pair.run(mirrored=False)

    assert await pair.back() is False


async def test_after_a_kill_everything_is_copied(pair: Pair) -> None:
    await pair.run(mirrored=True)
    await pair.stop()
    await pair.away()
    assert await pair.here.storage.kept([pair.disk]) == {pair.disk.uuid}
    # What was kept is loaded, and then the guest's writes are counted nowhere that lasts.
    await pair.run(mirrored=False)
    [live] = pair.primary.driver.guests()
    os.kill(live.pid, signal.SIGKILL)
    await pair.primary.until(lambda guest: guest.state is GuestState.DIED)
    assert pair.here.storage.bitmaps(pair.disk).exists()
    assert await pair.here.storage.kept([pair.disk]) == frozenset()
    await pair.run(mirrored=False)

    assert await pair.back() is True


async def test_a_start_that_fails_takes_nothing_away(pair: Pair) -> None:
    await pair.run(mirrored=True)
    await pair.stop()
    target = await pair.there.serve(pair.disk, pair.here)
    await pair.away()
    with pytest.raises(GantryError, match="cannot be mirrored to node2"):
        await pair.primary.driver.start(
            msgspec.structs.replace(pair.guest, disks=guest_spec(pair.disk, target).disks)
        )
    assert await pair.here.storage.kept([pair.disk]) == {pair.disk.uuid}
    await pair.run(mirrored=False)

    assert await pair.back() is False


async def test_what_is_damaged_is_not_believed(pair: Pair) -> None:
    await pair.run(mirrored=True)
    await pair.stop()
    await pair.away()
    pair.here.storage.bitmaps(pair.disk).write_bytes(b"QFI\xfb" + bytes(300))
    assert await pair.here.storage.kept([pair.disk]) == frozenset()
    await pair.run(mirrored=False)

    assert await pair.back() is True


async def test_a_replica_whose_content_is_another_one_is_copied_whole(pair: Pair) -> None:
    await pair.run(mirrored=True)
    await pair.stop()
    await pair.there.daemons.end(pair.disk)
    await pair.away()
    # A stranger made it anew meanwhile, with the same generation and size.
    file = pair.there.path(pair.disk)
    record = file.with_name(".disk0.replica")
    other = {"content": "0123456789abcdef", "mtime_ns": file.stat().st_mtime_ns}
    record.write_bytes(msgspec.json.encode(msgspec.json.decode(record.read_bytes()) | other))
    await pair.run(mirrored=False)

    assert await pair.back() is True
