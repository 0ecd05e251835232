"""A guest with mirrored disks goes to the node of a replica as it runs, and loses no write."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from tests.support import numbered_writer
from tests.support.agent_process import TestAuthority
from tests.support.replica_nodes import Primary, ReplicaNode, disk_spec, guest_spec

from gantry.agent import ends
from gantry.agent.replica_serving import Serving
from gantry.hypervisors.contract import Link, Manner
from gantry.hypervisors.kvm import mirrored_moves, outgoing
from gantry.model import timeouts
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.identity import node_host, node_subject
from gantry.model.live import GuestState, MirrorPhase
from gantry.model.moving_orders import Ports
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec, GuestSpec
from gantry.model.specs import MirrorTarget

pytestmark = pytest.mark.qemu


@dataclass
class Pair:
    """web1 runs on ``here``, mirrored to ``there``."""

    here: Primary
    there: Primary
    spec: GuestSpec
    tls: dict[str, str]
    cluster: Uuid
    waits: Serving | None = None
    """What is to serve the disk on ``here``."""

    @property
    def disk(self) -> DiskSpec:
        """As it is on ``here``."""
        return msgspec.structs.replace(self.spec.disks[0], targets=())

    @property
    def after(self) -> DiskSpec:
        """As it is on ``there``."""
        return msgspec.structs.replace(self.disk, generation=2)

    async def receive(self) -> Ports:
        described = await self.here.driver.describe(self.spec.uuid)
        spec = msgspec.structs.replace(described.spec, disks=(self.after,))
        peer = node_subject(self.here.node.name, self.here.node.uuid)
        link = Link(directory=self.tls["node2"], host="127.0.0.1", peer=peer)
        ports = await self.there.driver.receive(spec, described.accelerator, link, ())
        here, there = self.here.node, self.there.node
        self.waits = await here.daemons.prepare(self.after, there.peer, here.host)
        return ports

    def call(self, *, live: bool = True) -> tuple[Link, Manner]:
        node = self.there.node.uuid
        peer = node_host(self.cluster, node)
        link = Link(directory=self.tls["node1"], host="127.0.0.1", peer=peer)
        return link, Manner(live=live, lasts=60, node=node)

    async def send(self, ports: Ports) -> None:
        # An emulated guest is held still, as QEMU may overlook what it writes.
        link, manner = self.call(live=(await self.here.driver.facts()).accelerator == "kvm")
        await self.here.driver.send(self.spec.uuid, link, ports, (), manner, print)

    async def promote(self) -> DiskSpec:
        """What is done side by side with the resumption, up to the end."""
        here, there = self.here.node, self.there.node
        await (await there.daemons.leave(self.disk))
        await here.serve(self.after, there)
        return self.succeeding

    @property
    def succeeding(self) -> DiskSpec:
        """The disk as it is on ``there``, mirrored to what waits for it."""
        assert self.waits is not None
        target = MirrorTarget(
            node=self.here.node.uuid,
            name=self.here.node.name,
            host=self.here.node.host,
            port=self.waits.port,
            content=self.waits.content,
        )
        return msgspec.structs.replace(self.after, targets=(target,))


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    ca = TestAuthority(tmp_path)
    here, there = (ReplicaNode(tmp_path / name, ca, name) for name in ("node1", "node2"))
    disk = disk_spec()
    tls = {}
    for node in (here, there):
        await node.create(disk)
        directory = tmp_path / f"tls-{node.name}"
        directory.mkdir()
        ends.tls(node.root, directory)
        tls[node.name] = str(directory)
    one, other = Primary(here), Primary(there)
    await one.open()
    await other.open()
    spec = guest_spec(disk, await there.serve(disk, here))
    await one.driver.start(spec)
    await one.writes(spec)
    yield Pair(one, other, spec, tls, ca.cluster)
    for primary in (one, other):
        await primary.close()
    for node in (here, there):
        await node.close(disk)


async def test_it_goes_there_and_back_is_mirrored_to_from_the_first_write_on(pair: Pair) -> None:
    here, there, spec = pair.here, pair.there, pair.spec

    await pair.send(await pair.receive())
    assert here.driver.guests()[0].mirrors == ()
    last = here.acknowledged(spec)
    for node in (here.node, there.node):
        assert numbered_writer.missing(node.path(pair.disk), last) == []
    disk = await pair.promote()
    live = await there.driver.resume(spec.uuid, (disk,))
    assert [(one.node, one.phase) for one in live.mirrors] == [(here.node.uuid, MirrorPhase.READY)]
    await here.driver.stop(spec.uuid, timeout=0, force=True)

    assert await there.writes(spec, 100) > last
    os.kill(live.pid, signal.SIGKILL)
    await there.until(lambda guest: guest.state is GuestState.DIED)
    for node in (here.node, there.node):
        assert numbered_writer.missing(node.path(disk), there.acknowledged(spec)) == []
    # The one that was sent has not closed what another one writes to.
    assert not (await here.node.seen(disk)).clean


async def test_one_that_is_taken_back_after_it_was_sent_is_mirrored_again_before_it_runs(
    pair: Pair,
) -> None:
    here, there, spec = pair.here, pair.there, pair.spec
    await pair.send(await pair.receive())

    await here.driver.take_back(spec.uuid)

    live = here.driver.guests()[0]
    assert (live.state, [one.phase for one in live.mirrors]) == (
        GuestState.RUNNING,
        [MirrorPhase.READY],
    )
    await there.driver.drop(spec.uuid)
    await here.writes(spec, 100)
    os.kill(live.pid, signal.SIGKILL)
    await here.until(lambda guest: guest.state is GuestState.DIED)
    last = here.acknowledged(spec)
    assert numbered_writer.missing(there.node.path(pair.disk), last) == []


async def test_one_that_is_taken_back_without_its_replica_stands_still_until_that_is_released(
    pair: Pair,
) -> None:
    here, there, spec = pair.here, pair.there, pair.spec
    await pair.send(await pair.receive())
    await there.node.vanish(pair.disk)

    await here.driver.take_back(spec.uuid)

    assert here.driver.guests()[0].state is GuestState.PAUSED
    await here.phase(there.node, MirrorPhase.LOST)
    last = await here.holds(spec)
    assert numbered_writer.missing(there.node.path(pair.disk), last) == []
    await here.driver.release_mirror(spec.uuid, 0, there.node.uuid)
    await here.writes(spec, 50)


async def test_one_whose_end_could_not_be_sent_writes_nothing_that_is_not_mirrored(
    pair: Pair,
) -> None:
    here, there, spec = pair.here, pair.there, pair.spec
    ports = await pair.receive()
    running = here.driver._running[spec.uuid]
    monitor = await running.monitor(timeouts.QMP)
    sending = outgoing._Outgoing(running, monitor, print)
    link, manner = pair.call()
    await sending._begin(link, ports, (), manner)
    await sending.until(lambda status: status == "pre-switchover", 60)
    await mirrored_moves.leave(running, there.node.uuid)

    await there.driver.drop(spec.uuid)
    await monitor.execute("migrate-continue", state="pre-switchover")
    # QEMU believes that it is for it to let the guest run.
    await sending.until(lambda status: status == "failed", 60)
    await here.until(lambda guest: guest.reason == "paused by an error of a disk")
    last = await here.holds(spec)
    assert numbered_writer.missing(there.node.path(pair.disk), last) == []

    await here.driver.take_back(spec.uuid)
    await here.driver.take_back(spec.uuid)
    await here.phase(there.node, MirrorPhase.READY)
    await here.writes(spec, 50)
    await here.driver.stop(spec.uuid, timeout=0, force=True)
    assert here.node.path(pair.disk).read_bytes() == there.node.path(pair.disk).read_bytes()


async def test_where_the_other_end_is_gone_it_goes_on_as_it_was(pair: Pair) -> None:
    here, there, spec = pair.here, pair.there, pair.spec
    ports = await pair.receive()
    await there.driver.drop(spec.uuid)

    with pytest.raises(OperationFailed):
        await pair.send(ports)

    await here.phase(there.node, MirrorPhase.READY)
    await here.writes(spec, 50)
    with pytest.raises((Rejected, OperationFailed)):
        await there.driver.resume(spec.uuid, (pair.after,))


async def test_one_whose_replica_there_was_lost_does_not_go(pair: Pair) -> None:
    here, there, spec = pair.here, pair.there, pair.spec
    ports = await pair.receive()
    await there.node.vanish(pair.disk)
    await here.phase(there.node, MirrorPhase.LOST)
    await here.driver.release_mirror(spec.uuid, 0, there.node.uuid)

    with pytest.raises(OperationFailed, match="not in sync any more"):
        await pair.send(ports)

    await here.writes(spec, 50)


async def test_the_next_agents_go_on_with_it(pair: Pair) -> None:
    here, there, spec = pair.here, pair.there, pair.spec
    await pair.send(await pair.receive())
    await here.restart_agent()
    await there.restart_agent()
    assert (await there.node.seen(pair.disk)).generation == 1

    disk = await pair.promote()
    await there.driver.resume(spec.uuid, (disk,))
    await here.driver.stop(spec.uuid, timeout=0, force=True)
    await there.restart_agent()

    await there.phase(here.node, MirrorPhase.READY)
    await there.writes(spec, 50)
    await there.driver.stop(spec.uuid, timeout=0, force=True)
    assert here.node.path(disk).read_bytes() == there.node.path(disk).read_bytes()
