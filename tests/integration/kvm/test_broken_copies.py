"""A copy beside a guest that cannot be made is no error of the guest's disk."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.support import numbered_writer
from tests.support.agent_process import TestAuthority
from tests.support.replica_nodes import Primary, ReplicaNode, disk_spec, guest_spec

from gantry.model.entities import DiskTemplate
from gantry.model.errors import OperationFailed
from gantry.model.live import GuestState, MirrorPhase
from gantry.model.orders import DiskSpec, GuestSpec

pytestmark = pytest.mark.qemu
FAILED = b"\nE"
"""What the guest says of a write that failed."""


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[tuple[Primary, ReplicaNode]]:
    ca = TestAuthority(tmp_path)
    here, there = (ReplicaNode(tmp_path / name, ca, name) for name in ("node1", "node2"))
    primary = Primary(here)
    await primary.open()
    yield primary, there
    await primary.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for very little."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


async def behind(primary: Primary, there: ReplicaNode, disk: DiskSpec) -> GuestSpec:
    """A guest that runs, and a replica that was lost and lacks some of what it has written."""
    here = primary.node
    for node in (here, there):
        await node.create(disk)
    spec = guest_spec(disk, await there.serve(disk, here))
    await primary.driver.start(spec)
    await primary.writes(spec, 100)
    await there.vanish(disk)
    await primary.phase(there, MirrorPhase.LOST)
    await primary.driver.release_mirror(spec.uuid, 0, there.uuid)
    await primary.writes(spec, 700)
    await there.restart_agent()
    return spec


async def test_a_replica_that_is_lost_while_it_is_copied_holds_no_write_and_fails_none(
    nodes: tuple[Primary, ReplicaNode],
) -> None:
    primary, there = nodes
    disk = msgspec.structs.replace(disk_spec(), resync_rate=1)
    spec = await behind(primary, there, disk)
    target = await there.serve(disk, primary.node, overwrite=True, full=True)
    await primary.driver.attach_mirror(spec.uuid, 0, target)
    await primary.phase(there, MirrorPhase.COPYING)

    await there.vanish(disk)
    await primary.phase(there, MirrorPhase.LOST)
    await primary.writes(spec, 200)  # nobody has released it
    await primary.driver.release_mirror(spec.uuid, 0, there.uuid)

    await primary.writes(spec, 200)
    assert FAILED not in primary.console(spec)
    live = await primary.until(lambda guest: guest.state is GuestState.RUNNING)
    assert live.mirrors == ()
    await there.close(disk)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("seed", "rounds"), [(1, 4), pytest.param(2, 100, marks=pytest.mark.long)])
async def test_a_replica_that_is_lost_at_any_moment_is_either_whole_or_known_not_to_be(
    nodes: tuple[Primary, ReplicaNode], seed: int, rounds: int
) -> None:
    """Killed, or silent: while it is copied, while it becomes one that counts, or after that."""
    primary, there = nodes
    chance = random.Random(seed)
    disk = msgspec.structs.replace(disk_spec(), resync_rate=4)
    spec = await behind(primary, there, disk)
    for number in range(rounds):
        target = await there.serve(disk, primary.node, overwrite=True, full=True)
        await primary.driver.attach_mirror(spec.uuid, 0, target)
        await asyncio.sleep(chance.uniform(0.0, 2.5))
        how = chance.choice([signal.SIGKILL, signal.SIGSTOP])
        counts = [one.phase for one in primary.driver.guests()[0].mirrors] == [MirrorPhase.READY]
        print(f"round {number}: {how.name}, {'ready' if counts else 'copying'}")
        await there.vanish(disk, how)
        await primary.phase(there, MirrorPhase.LOST)
        held = await primary.holds(spec) if counts else 0
        assert numbered_writer.missing(there.path(disk), held) == []
        await primary.driver.release_mirror(spec.uuid, 0, there.uuid)
        await primary.writes(spec, 200)
        if how is signal.SIGSTOP:
            await there.vanish(disk)
        await there.restart_agent()
    assert FAILED not in primary.console(spec)

    target = await there.serve(disk, primary.node, overwrite=True, full=True)
    await primary.driver.attach_mirror(spec.uuid, 0, target)
    await primary.phase(there, MirrorPhase.READY)
    await primary.writes(spec, 50)
    await primary.driver.stop(spec.uuid, timeout=5, force=True)
    assert there.path(disk).read_bytes() == primary.node.path(disk).read_bytes()
    await there.close(disk)


@pytest.mark.root
async def test_no_room_for_a_snapshot_ends_the_snapshot_and_not_the_guest(
    nodes: tuple[Primary, ReplicaNode], small: Path
) -> None:
    primary, _ = nodes
    disk = msgspec.structs.replace(disk_spec(), template=DiskTemplate.FILE)
    path = primary.node.root / disk.path.lstrip("/")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * (disk.size << 20))
    numbered_writer.write(path, disk.size)
    spec = guest_spec(disk)
    await primary.driver.start(spec)
    await primary.writes(spec)

    await primary.driver.open_snapshot(spec.uuid, {0: str(small / "overlay")}, say=print)

    await primary.writes(spec, numbered_writer.BLOCKS)
    assert FAILED not in primary.console(spec)
    with pytest.raises(OperationFailed, match="was not kept"):
        await primary.driver.close_snapshot(spec.uuid, {0: str(small / "overlay")}, check=True)
    await asyncio.wait_for(primary.driver.stop(spec.uuid, timeout=0, force=True), 30)
