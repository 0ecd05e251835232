"""Mirrored disks of real guests, with real storage daemons: what is acknowledged is on both."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support import numbered_writer
from tests.support.agent_process import TestAuthority
from tests.support.replica_nodes import (
    Primary,
    ReplicaNode,
    disk_spec,
    guest_spec,
)

from gantry.hypervisors.kvm import block_jobs, sockets
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.hypervisors.kvm.snapshot import SOCKET
from gantry.model import timeouts
from gantry.model.entities import OnDegraded, ReplicaState
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.live import GuestState, MirrorPhase
from gantry.model.orders import DiskSpec

pytestmark = pytest.mark.qemu
UNWRITTEN = 7 << 20
"""Where the numbered writer never writes."""


@dataclass
class Cluster:
    primary: Primary
    here: ReplicaNode
    there: ReplicaNode
    third: ReplicaNode
    disk: DiskSpec


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    ca = TestAuthority(tmp_path)
    nodes = [ReplicaNode(tmp_path / name, ca, name) for name in ("node1", "node2", "node3")]
    disk = disk_spec()
    for node in nodes[:2]:
        await node.create(disk)
    primary = Primary(nodes[0])
    await primary.open()
    yield Cluster(primary, nodes[0], nodes[1], nodes[2], disk)
    await primary.close()
    for node in nodes[1:]:
        await node.close(disk)


async def test_what_a_guest_saw_acknowledged_is_on_the_replica_when_its_qemu_is_killed(
    cluster: Cluster,
) -> None:
    primary, there, disk = cluster.primary, cluster.there, cluster.disk
    spec = guest_spec(disk, await there.serve(disk, cluster.here))

    live = await primary.driver.start(spec)
    assert [one.phase for one in live.mirrors] == [MirrorPhase.READY]
    await primary.writes(spec, 100)
    os.kill(live.pid, signal.SIGKILL)
    ended = await primary.until(lambda guest: guest.state is GuestState.DIED)

    assert ended.mirrors == ()
    last = primary.acknowledged(spec)
    assert last >= 100
    assert numbered_writer.missing(there.path(disk), last) == []
    assert not (await cluster.here.seen(disk)).clean
    same = guest_spec(disk, await there.serve(disk, cluster.here))
    with pytest.raises(Rejected, match="it was not closed in order, so that node2 may differ"):
        await primary.driver.start(same)


async def test_an_orderly_end_leaves_equal_replicas_that_begin_without_a_copy(
    cluster: Cluster,
) -> None:
    primary, there, disk = cluster.primary, cluster.there, cluster.disk
    spec = guest_spec(disk, await there.serve(disk, cluster.here))

    for _ in range(2):
        await primary.driver.start(spec)
        await primary.writes(spec)
        await primary.driver.stop(spec.uuid, timeout=5, force=True)
        seen = await cluster.here.seen(disk)
        assert (seen.clean, seen.problem) == (True, "")
        assert there.path(disk).read_bytes() == cluster.here.path(disk).read_bytes()

    await there.daemons.end(disk)
    with there.path(disk).open("r+b") as file:
        file.write(b"a stranger")
    with pytest.raises(Rejected, match="somebody else has written to it"):
        await there.serve(disk, cluster.here)


async def test_a_daemon_that_comes_back_at_once_is_not_noticed(cluster: Cluster) -> None:
    primary, there, disk = cluster.primary, cluster.there, cluster.disk
    spec = guest_spec(disk, await there.serve(disk, cluster.here))
    await primary.driver.start(spec)
    await primary.writes(spec)

    away = 0.0
    for _ in range(2):
        there.kill_daemon(disk)
        began = time.monotonic()
        await there.until_served_again(disk)
        away = max(away, time.monotonic() - began)
        await primary.writes(spec, 50)

    await primary.phase(there, MirrorPhase.READY)
    told = {one.phase for guest in primary.told for one in guest.mirrors}
    # A machine that is so busy that the daemon needed longer sees a loss that healed by itself.
    assert told == {MirrorPhase.READY} or away > timeouts.REPLICA_LOST - 2
    await primary.driver.stop(spec.uuid, timeout=5, force=True)
    assert numbered_writer.missing(there.path(disk), primary.acknowledged(spec)) == []


async def test_writes_wait_for_a_lost_replica_until_it_is_released_and_it_comes_back(
    cluster: Cluster,
) -> None:
    primary, there, disk = cluster.primary, cluster.there, cluster.disk
    spec = guest_spec(disk, await there.serve(disk, cluster.here))
    await primary.driver.start(spec)
    await primary.writes(spec)

    await there.vanish(disk)
    lost = await primary.phase(there, MirrorPhase.LOST)
    assert "does not answer" in lost.reason
    held = await primary.holds(spec)
    assert numbered_writer.missing(there.path(disk), held) == []

    await primary.driver.release_mirror(spec.uuid, 0, there.uuid)
    await primary.driver.release_mirror(spec.uuid, 0, there.uuid)
    assert (await primary.until(lambda guest: True)).mirrors == ()
    gone = await primary.writes(spec, 50)
    assert numbered_writer.missing(there.path(disk), gone) != []

    # Its record and its content are what they were: what it lacks is copied, and no more.
    with there.path(disk).open("r+b") as file:
        file.seek(UNWRITTEN)
        file.write(b"a mark")
    await there.restart_agent()
    target = await there.serve(disk, cluster.here, overwrite=True, full=True)
    assert (await there.seen(disk)).state is ReplicaState.SYNCING
    await primary.driver.attach_mirror(spec.uuid, 0, target)
    await primary.driver.attach_mirror(spec.uuid, 0, target)
    await primary.phase(there, MirrorPhase.READY)
    await primary.writes(spec)
    await primary.driver.stop(spec.uuid, timeout=5, force=True)
    mine, theirs = cluster.here.path(disk).read_bytes(), there.path(disk).read_bytes()
    assert theirs[:UNWRITTEN] == mine[:UNWRITTEN]
    assert theirs[UNWRITTEN:].startswith(b"a mark")


async def test_a_replica_that_hangs_is_lost_and_can_be_released(cluster: Cluster) -> None:
    primary, there, disk = cluster.primary, cluster.there, cluster.disk
    spec = guest_spec(disk, await there.serve(disk, cluster.here))
    await primary.driver.start(spec)
    await primary.writes(spec)
    pid = there.pid(disk)

    os.kill(pid, signal.SIGSTOP)
    try:
        await primary.phase(there, MirrorPhase.LOST)
        await primary.holds(spec)
        await primary.driver.release_mirror(spec.uuid, 0, there.uuid)
        await primary.writes(spec)
    finally:
        os.kill(pid, signal.SIGCONT)


class _Interrupted(Monitor):
    """Once a job has come to its end on request, something happens before what comes next."""

    meanwhile: Callable[[], Awaitable[None]]
    happened = False
    _asked = False

    async def _answer(
        self, command: str, timeout: float, arguments: Mapping[str, object], *, at_once: bool
    ) -> Any:
        if self._asked and command != "query-block-jobs" and not self.happened:
            self.happened = True
            await self.meanwhile()
        self._asked |= command == "block-job-cancel" and "force" not in arguments
        return await super()._answer(command, timeout, arguments, at_once=at_once)


async def test_a_replica_may_go_as_soon_as_nothing_is_mirrored_to_it(cluster: Cluster) -> None:
    """To close a connection QEMU writes everything out first, and would wait for ever."""
    primary, there, disk = cluster.primary, cluster.there, cluster.disk
    spec = guest_spec(disk, await there.serve(disk, cluster.here))
    await primary.driver.start(spec)
    await primary.writes(spec)
    await primary.driver.close()  # it would hold the monitor
    directory = cluster.here.root / "run/gantry/guests" / spec.uuid
    connection = sockets.connect(directory, "monitor")
    monitor = await _Interrupted.open(connection, spec.name, lambda _event, _data: None)
    assert isinstance(monitor, _Interrupted)
    monitor.meanwhile = lambda: there.vanish(disk)

    await block_jobs.release(monitor, 0, there.uuid, answers=True)

    assert monitor.happened
    await monitor.close()
    await primary.writes(spec)
    await primary.restart_agent()


async def test_a_replica_that_has_just_gone_is_released_as_one_that_is_lost(
    cluster: Cluster,
) -> None:
    primary, there, disk = cluster.primary, cluster.there, cluster.disk
    spec = guest_spec(disk, await there.serve(disk, cluster.here))
    await primary.driver.start(spec)
    await primary.writes(spec)

    await there.vanish(disk)
    [live] = primary.driver.guests()
    assert [one.phase for one in live.mirrors] == [MirrorPhase.READY]  # nobody has noticed yet
    await primary.driver.release_mirror(spec.uuid, 0, there.uuid)

    await primary.writes(spec)


async def test_a_replica_that_answers_again_before_it_was_released_goes_on(
    cluster: Cluster,
) -> None:
    primary, there, disk = cluster.primary, cluster.there, cluster.disk
    spec = guest_spec(disk, await there.serve(disk, cluster.here))
    await primary.driver.start(spec)
    pid = there.pid(disk)

    os.kill(pid, signal.SIGSTOP)
    await primary.phase(there, MirrorPhase.LOST)
    os.kill(pid, signal.SIGCONT)
    await primary.phase(there, MirrorPhase.READY)
    await primary.writes(spec)
    await primary.driver.stop(spec.uuid, timeout=5, force=True)

    assert there.path(disk).read_bytes() == cluster.here.path(disk).read_bytes()


async def test_a_disk_that_is_to_go_on_is_released_by_the_agent_itself(cluster: Cluster) -> None:
    primary, there = cluster.primary, cluster.there
    disk = msgspec.structs.replace(cluster.disk, on_degraded=OnDegraded.CONTINUE)
    spec = guest_spec(disk, await there.serve(disk, cluster.here))
    await primary.driver.start(spec)

    await there.vanish(disk)
    guest = await primary.until(lambda guest: any(one.released for one in guest.mirrors))

    assert [one.phase for one in guest.mirrors] == [MirrorPhase.LOST]
    await primary.writes(spec)


async def test_a_third_replica_joins_and_the_second_leaves_while_the_guest_runs(
    cluster: Cluster,
) -> None:
    primary, there, third = cluster.primary, cluster.there, cluster.third
    disk = msgspec.structs.replace(cluster.disk, resync_rate=1)
    spec = guest_spec(disk, await there.serve(disk, cluster.here))
    await primary.driver.start(spec)

    target = await third.serve(disk, cluster.here, overwrite=True, full=True)
    began = time.monotonic()
    await primary.driver.attach_mirror(spec.uuid, 0, target)
    await primary.phase(third, MirrorPhase.READY)
    assert time.monotonic() - began > (disk.size - 2) / disk.resync_rate * 0.7
    await primary.writes(spec)
    await primary.driver.release_mirror(spec.uuid, 0, there.uuid)
    live = await primary.until(lambda guest: len(guest.mirrors) == 1)
    assert live.mirrors[0].node == third.uuid
    await there.daemons.end(disk)
    await primary.writes(spec)
    os.kill(live.pid, signal.SIGKILL)
    await primary.until(lambda guest: guest.state is GuestState.DIED)

    assert numbered_writer.missing(third.path(disk), primary.acknowledged(spec)) == []


async def test_agents_on_both_sides_are_restarted_and_find_everything(cluster: Cluster) -> None:
    primary, there, disk = cluster.primary, cluster.there, cluster.disk
    spec = guest_spec(disk, await there.serve(disk, cluster.here))
    await primary.driver.start(spec)
    pid = there.pid(disk)

    await there.restart_agent()
    await primary.restart_agent()

    assert there.pid(disk) == pid
    await primary.phase(there, MirrorPhase.READY)
    await primary.writes(spec)
    await there.vanish(disk)
    await primary.phase(there, MirrorPhase.LOST)
    await primary.driver.release_mirror(spec.uuid, 0, there.uuid)
    await primary.writes(spec)
    await primary.restart_agent()
    assert (await primary.until(lambda guest: True)).mirrors == ()
    # With no agent at all its daemon ended: the next one starts it again, at the same port.
    served = there.daemons.served(disk.uuid)
    assert served is not None
    await there.restart_agent()
    target = await there.serve(disk, cluster.here, overwrite=True, full=True)
    assert target.port == served.port
    await primary.driver.attach_mirror(spec.uuid, 0, target)
    await primary.phase(there, MirrorPhase.READY)


async def test_copies_of_a_disk_wait_for_one_another_and_go_on_under_the_next_agent(
    cluster: Cluster,
) -> None:
    primary, there, third = cluster.primary, cluster.there, cluster.third
    # Slow enough for the first one to go on all the time until the next agent is there.
    disk = msgspec.structs.replace(cluster.disk, resync_rate=1)
    spec = guest_spec(disk)
    await primary.driver.start(spec)

    for node in (there, third):
        target = await node.serve(disk, cluster.here, overwrite=True, full=True)
        await primary.driver.attach_mirror(spec.uuid, 0, target)
    assert {one.phase for one in primary.driver.guests()[0].mirrors} == {MirrorPhase.COPYING}
    await primary.restart_agent()

    await primary.phase(third, MirrorPhase.LOST)  # its copy had not begun
    await primary.driver.release_mirror(spec.uuid, 0, third.uuid)
    await primary.driver.attach_mirror(spec.uuid, 0, target)
    again = {one.node: one.phase for one in primary.driver.guests()[0].mirrors}
    assert again[third.uuid] is MirrorPhase.COPYING
    await primary.phase(there, MirrorPhase.READY)
    await primary.phase(third, MirrorPhase.READY)
    await primary.writes(spec)
    await primary.driver.stop(spec.uuid, timeout=5, force=True)
    for node in (there, third):
        assert node.path(disk).read_bytes() == cluster.here.path(disk).read_bytes()


async def test_a_guest_does_not_start_where_a_replica_cannot_be_reached(cluster: Cluster) -> None:
    primary, there, disk = cluster.primary, cluster.there, cluster.disk
    target = await there.serve(disk, cluster.here)
    await there.daemons.end(disk)

    with pytest.raises(OperationFailed, match=r"cannot be mirrored to node2"):
        await primary.driver.start(guest_spec(disk, target))

    assert primary.driver.guests() == ()
    assert (await cluster.here.seen(disk)).clean


async def test_only_the_node_that_it_is_served_to_reaches_a_replica(cluster: Cluster) -> None:
    there, third, disk = cluster.there, cluster.third, cluster.disk
    target = await there.serve(disk, cluster.here)

    assert disk.uuid in await cluster.here.means.peers.exports(target)
    with pytest.raises((OSError, EOFError)):
        await third.means.peers.exports(target)
    strangers = [await asyncio.open_connection(target.host, target.port) for _ in range(50)]
    for _, writer in strangers:
        writer.write(os.urandom(64))
    assert disk.uuid in await cluster.here.means.peers.exports(target)
    for _, writer in strangers:
        writer.close()


async def test_what_a_mirrored_disk_was_at_one_moment_can_be_read_while_it_is_mirrored(
    cluster: Cluster, tmp_path: Path
) -> None:
    primary, there, disk = cluster.primary, cluster.there, cluster.disk
    spec = guest_spec(disk, await there.serve(disk, cluster.here))
    await primary.driver.start(spec)
    # What was acknowledged before is in it; the guest writes on while it is made.
    before = await primary.writes(spec)
    overlay = str(tmp_path / "overlay")

    await primary.driver.open_snapshot(spec.uuid, {0: overlay}, say=lambda _text: None)
    await primary.writes(spec, 50)
    socket = primary.driver.snapshot(spec.uuid)
    assert socket is not None
    copied = tmp_path / "copied"
    with contextlib.chdir(socket):  # a socket's path is short
        source = f"nbd+unix:///disk0?socket={SOCKET}"
        argv = ["qemu-img", "convert", "-f", "raw", "-O", "raw", source, str(copied)]
        done = await asyncio.create_subprocess_exec(*argv)
        assert await asyncio.wait_for(done.wait(), 200) == 0
    await primary.driver.close_snapshot(spec.uuid, {0: overlay}, check=True)

    assert numbered_writer.missing(copied, before) == []
    later = await primary.writes(spec)
    assert numbered_writer.missing(copied, later) != []
    await primary.driver.stop(spec.uuid, timeout=5, force=True)
    assert there.path(disk).read_bytes() == cluster.here.path(disk).read_bytes()


async def test_what_a_guest_writes_to_itself_is_not_served_whatever_is_ordered(
    cluster: Cluster,
) -> None:
    primary, here, disk = cluster.primary, cluster.here, cluster.disk
    spec = guest_spec(disk)
    await primary.driver.start(spec)

    with pytest.raises(Rejected, match="has the replica of disk 0 open already"):
        await here.serve(disk, cluster.there, overwrite=True, full=True)

    assert (await here.seen(disk)).state is ReplicaState.IN_SYNC
    await primary.driver.stop(spec.uuid, timeout=5, force=True)
    assert (await here.seen(disk)).clean
