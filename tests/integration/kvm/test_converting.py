"""Files of real guests become mirrored while these write, and files again; nothing is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from tests.integration.kvm.disks import io
from tests.support import numbered_writer
from tests.support.agent_process import TestAuthority
from tests.support.replica_nodes import Primary, ReplicaNode, disk_spec, guest_spec

from gantry.hypervisors.kvm import layers, resync
from gantry.hypervisors.kvm.running import Running
from gantry.model import timeouts
from gantry.model.entities import DiskTemplate
from gantry.model.errors import Rejected
from gantry.model.live import GuestState, MirrorPhase
from gantry.model.orders import DiskSpec, GuestSpec
from gantry.storage import taken_over

pytestmark = pytest.mark.qemu


@dataclass
class Cluster:
    """A guest that writes to a file on the first node."""

    primary: Primary
    nodes: list[ReplicaNode]
    file: DiskSpec
    mirror: DiskSpec
    spec: GuestSpec

    @property
    def running(self) -> Running:
        return self.primary.driver._running[self.spec.uuid]

    def follows(self) -> bool:
        """Whether the driver knows it as one with mirrors."""
        return self.running.mirrors is not None

    async def mirrored(self) -> None:
        """As a job would: the primary's replica is known, then the others are mirrored to."""
        for _ in range(2):  # again, for an order that comes twice
            taken_over.take_over(self.nodes[0].storage, self.mirror)
            await self.primary.driver.convert_disk(self.spec.uuid, self.mirror)
        for node in self.nodes[1:]:
            target = await node.serve(self.mirror, self.nodes[0], overwrite=True, full=True)
            await self.primary.driver.attach_mirror(self.spec.uuid, 0, target)
        for node in self.nodes[1:]:
            await self.primary.phase(node, MirrorPhase.READY)

    async def plain(self) -> None:
        for _ in range(2):
            await self.primary.driver.convert_disk(self.spec.uuid, self.file)
        for node in self.nodes[1:]:
            await node.daemons.end(self.mirror)

    async def holes(self) -> bool:
        """Whether a discard of the guest's leaves some in its file."""
        path = self.nodes[0].path(self.mirror)
        before = path.stat().st_blocks
        await io(self.primary.driver, self.spec.uuid, 0, "discard 6M 1M")
        return path.stat().st_blocks < before


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    ca = TestAuthority(tmp_path)
    nodes = [ReplicaNode(tmp_path / name, ca, name) for name in ("node1", "node2", "node3")]
    mirror = disk_spec()
    file = msgspec.structs.replace(mirror, template=DiskTemplate.FILE, generation=0)
    path = nodes[0].path(mirror)
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(file.size << 20))
    numbered_writer.write(path, file.size)
    primary = Primary(nodes[0])
    await primary.open()
    spec = guest_spec(file)
    spec = msgspec.structs.replace(spec, hvparams={"disk_cache": "none", "disk_discard": "unmap"})
    await primary.driver.start(spec)
    await primary.writes(spec)
    yield Cluster(primary, nodes, file, mirror, spec)
    await primary.close()
    for node in nodes[1:]:
        await node.close(mirror)


async def test_a_file_is_mirrored_under_its_guest_and_becomes_a_file_again(
    cluster: Cluster,
) -> None:
    primary, spec, others = cluster.primary, cluster.spec, cluster.nodes[1:]
    here = cluster.nodes[0]

    await cluster.mirrored()
    await primary.writes(spec)
    last = primary.acknowledged(spec)
    for node in others:
        assert numbered_writer.missing(node.path(cluster.mirror), last) == []
    seen = await here.seen(cluster.mirror)
    assert (seen.generation, seen.clean, seen.problem) == (1, False, "")
    assert not await cluster.holes()

    # A later agent follows its mirrors, and ends them; nothing of them stays in QEMU.
    await primary.restart_agent()
    assert cluster.follows()
    await primary.writes(spec)
    await cluster.plain()
    assert not cluster.follows()
    live = await primary.until(lambda guest: guest.state is GuestState.RUNNING)
    assert live.mirrors == ()
    monitor = await cluster.running.monitor(timeouts.QMP)
    assert (await layers.found(monitor, 0)).layers == frozenset()
    assert await resync.bitmaps(monitor, "disk0") == {}
    assert await monitor.execute("query-block-jobs") == []
    assert await cluster.holes()
    await primary.writes(spec)

    # And mirrored once more: what is acknowledged is on all when QEMU is killed.
    await cluster.mirrored()
    await primary.writes(spec)
    os.kill((await primary.until(lambda guest: guest.up)).pid, signal.SIGKILL)
    await primary.until(lambda guest: guest.state is GuestState.DIED)
    for node in others:
        assert numbered_writer.missing(node.path(cluster.mirror), primary.acknowledged(spec)) == []
    assert not (await here.seen(cluster.mirror)).clean


async def test_a_converted_guest_closes_its_replicas_and_moves_only_after_its_next_start(
    cluster: Cluster,
) -> None:
    primary, spec = cluster.primary, cluster.spec
    await primary.driver.describe(spec.uuid)
    await cluster.mirrored()
    with pytest.raises(Rejected, match="has become mirrored since it was started"):
        await primary.driver.describe(spec.uuid)

    # A replica that was lost is copied as a whole: its device would see the failure of less.
    there = cluster.nodes[1]
    await there.vanish(cluster.mirror)
    await primary.phase(there, MirrorPhase.LOST)
    await primary.driver.release_mirror(spec.uuid, 0, there.uuid)
    await primary.writes(spec)
    await there.restart_agent()
    target = await there.serve(cluster.mirror, cluster.nodes[0], overwrite=True, full=True)
    await primary.driver.attach_mirror(spec.uuid, 0, target)
    monitor = await cluster.running.monitor(timeouts.QMP)
    assert not await resync.begun(monitor, 0, there.uuid)
    await primary.phase(there, MirrorPhase.READY)
    await primary.writes(spec)

    await primary.driver.stop(spec.uuid, timeout=5, force=True)
    assert len({node.path(cluster.mirror).read_bytes() for node in cluster.nodes}) == 1
    seen = await cluster.nodes[0].seen(cluster.mirror)
    assert (seen.clean, seen.problem) == (True, "")
    targets = [await node.serve(cluster.mirror, cluster.nodes[0]) for node in cluster.nodes[1:]]
    again = guest_spec(cluster.mirror, *targets)
    await primary.driver.start(msgspec.structs.replace(again, uuid=spec.uuid))
    await primary.driver.describe(spec.uuid)
