"""A replica that answers, while QEMU's connection to it is dead and QEMU has not heard of that."""

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
from tests.support.agent_process import TestAuthority
from tests.support.proxy import Proxy
from tests.support.replica_nodes import Primary, ReplicaNode, disk_spec, guest_spec

from gantry.agent.mirror_peers import NodePeers
from gantry.hypervisors.kvm.mirrored import Means
from gantry.model.live import GuestState, MirrorPhase
from gantry.model.orders import DiskSpec, GuestSpec
from gantry.model.specs import MirrorTarget

pytestmark = [pytest.mark.qemu, pytest.mark.root]


class Unable(NodePeers):
    """On a kernel that ends nobody's connections."""

    async def hang_up(self, target: MirrorTarget) -> bool:
        return False


class UnableNode(ReplicaNode):
    @property
    def means(self) -> Means:
        return Means(replicas=self.storage, peers=Unable(self.root, self._ca.cluster))


@dataclass
class Cluster:
    """A guest that writes, and is mirrored over ``way``."""

    primary: Primary
    here: ReplicaNode
    there: ReplicaNode
    disk: DiskSpec
    spec: GuestSpec
    way: Proxy

    def lost(self) -> bool:
        """Whether a replica was ever told as lost."""
        told = [one.phase for guest in self.primary.told for one in guest.mirrors]
        assert MirrorPhase.READY in told
        return MirrorPhase.LOST in told


@pytest.fixture(params=[ReplicaNode])
async def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    ca = TestAuthority(tmp_path)
    here = request.param(tmp_path / "node1", ca, "node1")
    there = ReplicaNode(tmp_path / "node2", ca, "node2")
    disk = disk_spec()
    for node in (here, there):
        await node.create(disk)
    primary = Primary(here)
    await primary.open()
    target = await there.serve(disk, here)
    way = Proxy(target.host, target.port)
    spec = guest_spec(disk, msgspec.structs.replace(target, port=await way.start()))
    await primary.driver.start(spec)
    await primary.writes(spec)
    yield Cluster(primary, here, there, disk, spec, way)
    await primary.close()
    await way.close()
    await there.close(disk)


async def test_qemu_connects_anew_and_nothing_is_lost_not_even_the_replica(
    cluster: Cluster,
) -> None:
    primary, spec = cluster.primary, cluster.spec
    for _ in range(2):
        cluster.way.freeze()
        held_at = await primary.holds(spec)
        assert numbered_writer.missing(cluster.there.path(cluster.disk), held_at) == []
        await primary.writes(spec, 50)
    assert not cluster.lost()

    live = await primary.until(lambda guest: guest.up)
    os.kill(live.pid, signal.SIGKILL)
    await primary.until(lambda guest: guest.state is GuestState.DIED)
    last = primary.acknowledged(spec)
    assert numbered_writer.missing(cluster.there.path(cluster.disk), last) == []


async def test_a_disk_grows_though_its_connection_died_when_its_guest_was_to_be_stopped(
    cluster: Cluster,
) -> None:
    primary, spec, here = cluster.primary, cluster.spec, cluster.here.storage
    larger = msgspec.structs.replace(cluster.disk, size=cluster.disk.size + 8)
    await cluster.there.daemons.grow(larger)
    await primary.writes(spec)

    cluster.way.freeze()
    await here.growing(larger)
    assert await primary.driver.resize_disk(spec.uuid, 0, larger.size)
    await here.grew(larger)

    await primary.writes(spec, 50)
    assert not cluster.lost()
    await primary.driver.stop(spec.uuid, timeout=5, force=True)
    paths = [node.path(larger) for node in (cluster.here, cluster.there)]
    assert [path.stat().st_size for path in paths] == [larger.size << 20] * 2
    assert len({path.read_bytes() for path in paths}) == 1


@pytest.mark.parametrize("cluster", [UnableNode], indirect=True)
async def test_where_no_connection_can_be_ended_the_replica_is_lost_and_can_be_left_behind(
    cluster: Cluster,
) -> None:
    primary, spec = cluster.primary, cluster.spec
    cluster.way.freeze()
    await primary.phase(cluster.there, MirrorPhase.LOST)
    held_at = await primary.holds(spec)
    assert numbered_writer.missing(cluster.there.path(cluster.disk), held_at) == []
    await asyncio.sleep(3.0)  # one that answers and is well is ready again after a look
    assert cluster.primary.driver.guests()[0].mirrors[0].phase is MirrorPhase.LOST

    await primary.driver.release_mirror(spec.uuid, 0, cluster.there.uuid)
    await primary.writes(spec, 50)
