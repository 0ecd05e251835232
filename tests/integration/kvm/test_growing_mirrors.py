"""Mirrored disks of real guests become larger while these write, and lose nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from tests.support import numbered_writer
from tests.support.agent_process import TestAuthority, new_uuid
from tests.support.replica_nodes import Primary, ReplicaNode, disk_spec, guest_spec

from gantry.hypervisors.kvm import block_jobs, held
from gantry.hypervisors.kvm.running import Running
from gantry.model import timeouts
from gantry.model.errors import OperationFailed
from gantry.model.live import GuestState, MirrorPhase
from gantry.model.orders import DiskSpec, GuestSpec

pytestmark = pytest.mark.qemu
MIB = 1 << 20


@dataclass
class Cluster:
    """Two disks with a replica on each of three nodes; a guest writes to the first."""

    primary: Primary
    nodes: list[ReplicaNode]
    disks: list[DiskSpec]
    spec: GuestSpec

    @property
    def running(self) -> Running:
        return self.primary.driver._running[self.spec.uuid]

    def held(self) -> bool:
        return self.running.record.held

    async def grow(self, index: int, size: int, *others: ReplicaNode) -> None:
        """As a job would: the others first, then the primary's."""
        larger = msgspec.structs.replace(self.disks[index], size=size)
        for node in others:
            await node.daemons.grow(larger)
            assert node.path(larger).stat().st_blocks * 512 >= size * MIB
        here = self.nodes[0].storage
        await here.growing(larger)
        assert await self.primary.driver.resize_disk(self.spec.uuid, index, size)
        await here.grew(larger)
        self.disks[index] = larger

    async def seen_size(self, index: int) -> int:
        """MiB of the disk as the guest's device has it."""
        monitor = await self.running.monitor(timeouts.QMP)
        for one in await monitor.execute("query-block"):
            if one["qdev"].startswith(f"/machine/peripheral/drive{index}/"):
                return int(one["inserted"]["image"]["virtual-size"]) // MIB
        raise AssertionError(f"the guest has no disk {index}")


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    ca = TestAuthority(tmp_path)
    nodes = [ReplicaNode(tmp_path / name, ca, name) for name in ("node1", "node2", "node3")]
    first = disk_spec()
    path = first.path.replace("disk0", "disk1")
    second = msgspec.structs.replace(first, uuid=new_uuid(), index=1, path=path, size=4)
    for node in nodes:
        for disk in (first, second):
            await node.create(disk)
    primary = Primary(nodes[0])
    await primary.open()
    targets = [[await node.serve(disk, nodes[0]) for node in nodes[1:]] for disk in (first, second)]
    spec = guest_spec(first, *targets[0])
    other = msgspec.structs.replace(second, targets=tuple(targets[1]))
    spec = msgspec.structs.replace(spec, disks=(*spec.disks, other))
    await primary.driver.start(spec)
    await primary.writes(spec)
    yield Cluster(primary, nodes, [first, second], spec)
    await primary.close()
    for node in nodes[1:]:
        for disk in (first, second):
            await node.close(disk)


async def test_a_disk_grows_under_a_guest_that_writes_and_every_replica_with_it(
    cluster: Cluster,
) -> None:
    primary, spec, others = cluster.primary, cluster.spec, cluster.nodes[1:]
    size = cluster.disks[0].size

    await cluster.grow(0, size + 8, *others)
    await cluster.grow(1, 6, *others)
    await cluster.grow(0, size + 16, *others)
    await cluster.grow(0, size + 16, *others)

    assert [await cluster.seen_size(index) for index in (0, 1)] == [size + 16, 6]
    live = await primary.until(lambda guest: guest.state is GuestState.RUNNING)
    assert [one.phase for one in live.mirrors] == [MirrorPhase.READY] * 4
    assert not cluster.held()
    await primary.writes(spec)
    await primary.driver.stop(spec.uuid, timeout=5, force=True)
    for disk in cluster.disks:
        assert len({node.path(disk).read_bytes() for node in cluster.nodes}) == 1
        assert [(await node.seen(disk)).problem for node in cluster.nodes] == [""] * 3

    # They begin again without a copy, and a death in the middle loses nothing.
    targets = [await node.serve(cluster.disks[0], cluster.nodes[0]) for node in others]
    again = guest_spec(cluster.disks[0], *targets)
    await primary.driver.start(msgspec.structs.replace(again, uuid=spec.uuid))
    await cluster.grow(0, size + 24, *others)
    await primary.writes(spec)
    os.kill((await primary.until(lambda guest: guest.up)).pid, signal.SIGKILL)
    await primary.until(lambda guest: guest.state is GuestState.DIED)
    for node in others:
        assert node.path(cluster.disks[0]).stat().st_size == (size + 24) * MIB
        assert (
            numbered_writer.missing(node.path(cluster.disks[0]), primary.acknowledged(spec)) == []
        )


async def test_what_is_lost_before_is_waited_for_and_what_is_lost_meanwhile_holds_the_guest(
    cluster: Cluster,
) -> None:
    primary, spec, (_, there, third) = cluster.primary, cluster.spec, cluster.nodes
    size = cluster.disks[0].size
    await there.vanish(cluster.disks[0])
    with pytest.raises(OperationFailed, match="on node2 is not in sync"):
        await primary.driver.resize_disk(spec.uuid, 0, size + 8)
    assert await cluster.seen_size(0) == size
    await primary.phase(there, MirrorPhase.LOST)
    await primary.driver.release_mirror(spec.uuid, 0, there.uuid)
    await primary.writes(spec)

    # The third has not grown, so that nothing can be mirrored to it.
    await cluster.grow(0, size + 8)
    await primary.phase(third, MirrorPhase.LOST)
    held_at = await primary.holds(spec)
    assert cluster.held()
    assert numbered_writer.missing(third.path(cluster.disks[0]), held_at) == []
    await primary.driver.release_mirror(spec.uuid, 0, third.uuid)
    await primary.writes(spec)
    assert not cluster.held()
    assert await cluster.seen_size(0) == size + 8


async def test_an_agent_that_dies_meanwhile_leaves_a_guest_that_the_next_one_lets_go_on(
    cluster: Cluster,
) -> None:
    primary, spec, (_, there, third) = cluster.primary, cluster.spec, cluster.nodes
    ends = asyncio.Event()

    async def dies() -> None:
        ends.set()
        await asyncio.Event().wait()

    mirrors = cluster.running.mirrors
    assert mirrors is not None
    growing = asyncio.create_task(held.without_mirrors(cluster.running, mirrors, 0, dies))
    await ends.wait()
    monitor = await cluster.running.monitor(timeouts.QMP)
    left = {block_jobs.job_name(1, node.uuid) for node in (there, third)}
    assert (await block_jobs.jobs(monitor)).keys() == left
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await primary.restart_agent()
    growing.cancel()
    for task in others:
        if "_done" in repr(task.get_coro()):
            task.cancel()

    await primary.phase(there, MirrorPhase.LOST)
    held_at = await primary.holds(spec)
    await primary.driver.release_mirror(spec.uuid, 0, there.uuid)
    assert await primary.holds(spec) == held_at
    await primary.driver.release_mirror(spec.uuid, 0, third.uuid)
    await primary.writes(spec)
    assert not cluster.held()
