"""A guest that is held still in a move runs only once all that it must be mirrored to is there."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support import moving_pairs, numbered_writer
from tests.support.moving_pairs import Pair
from tests.support.replica_nodes import DIRECTORY, PATIENCE, Primary

from gantry.hypervisors.kvm import mirrored_moves, outgoing
from gantry.model import timeouts
from gantry.model.live import GuestState, MirrorPhase
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec

pytestmark = pytest.mark.qemu
AGENT = """
import asyncio, sys
from pathlib import Path
import msgspec
from gantry.agent.mirror_peers import NodePeers
from gantry.hypervisors.kvm import Kvm
from gantry.hypervisors.kvm.mirrored import Means
from gantry.model.orders import DiskSpec
from gantry.storage.mirror import MirrorStorage

async def main(root, name, cluster, directory, guest, disks):
    means = Means(
        replicas=MirrorStorage(Path(root), [directory]), peers=NodePeers(Path(root), cluster)
    )
    driver = Kvm(Path(root), name, None, means)
    await driver.open(lambda guest: None)
    await driver.resume(guest, msgspec.json.decode(disks, type=tuple[DiskSpec, ...]))

asyncio.run(main(*sys.argv[1:]))
"""
"""What an agent does for GuestResume, in a process that can be killed."""


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with moving_pairs.made(tmp_path) as pair:
        yield pair


@pytest.fixture
async def double(tmp_path: Path) -> AsyncIterator[Pair]:
    async with moving_pairs.made(tmp_path, disks=2) as pair:
        yield pair


def phases(primary: Primary) -> list[MirrorPhase]:
    return [one.phase for one in primary.driver.guests()[0].mirrors]


async def test_one_with_two_disks_goes_there_with_both(double: Pair) -> None:
    here, there, spec = double.here, double.there, double.spec
    await double.send(await double.receive())

    live = await there.driver.resume(spec.uuid, await double.promote())

    assert [one.phase for one in live.mirrors] == [MirrorPhase.READY, MirrorPhase.READY]
    await here.driver.stop(spec.uuid, timeout=0, force=True)
    await there.writes(spec, 50)
    await there.driver.stop(spec.uuid, timeout=0, force=True)
    for disk in double.after:
        assert here.node.path(disk).read_bytes() == there.node.path(disk).read_bytes()


async def test_one_that_is_taken_back_does_not_run_before_all_its_disks_are_mirrored(
    double: Pair,
) -> None:
    here, spec = double.here, double.spec
    await double.send(await double.receive())
    seen = list[list[MirrorPhase]]()

    def told(event: str, _data: Mapping[str, Any]) -> None:
        if event == "RESUME":
            seen.append(phases(here))

    with here.driver._running[spec.uuid].listening(told):
        await here.driver.take_back(spec.uuid)
        await here.writes(spec, 50)

    assert seen == [[MirrorPhase.READY, MirrorPhase.READY]]


async def test_taking_it_back_waits_until_qemu_has_decided_whether_it_runs(pair: Pair) -> None:
    """Else QEMU lets it run, by itself, while its mirrors are being made."""
    here, there, spec = pair.here, pair.there, pair.spec
    ports = await pair.receive()
    running = here.driver._running[spec.uuid]
    monitor = await running.monitor(timeouts.QMP)
    sending = outgoing._Outgoing(running, monitor, print)
    link, manner = pair.call()
    await sending._begin(link, ports, (), manner)
    await sending.until(lambda status: status == "pre-switchover", 60)
    await mirrored_moves.leave(running, there.node.uuid, sending._barriers)

    settled = asyncio.create_task(mirrored_moves.settled(monitor))
    assert not (await asyncio.wait([settled], timeout=0.5))[0]

    await here.driver.take_back(spec.uuid)
    assert await settled in ("running", "io-error", "paused")
    assert phases(here) == [MirrorPhase.READY]
    await here.writes(spec, 50)
    await here.driver.stop(spec.uuid, timeout=0, force=True)
    assert here.node.path(pair.disk).read_bytes() == there.node.path(pair.disk).read_bytes()


async def test_one_whose_agent_is_killed_before_it_is_mirrored_is_held_by_the_next(
    pair: Pair,
) -> None:
    here, there, spec = pair.here, pair.there, pair.spec
    await pair.send(await pair.receive())
    await (await there.node.daemons.leave(pair.disk))
    disks = pair.succeeding
    await there.driver.close()

    await _killed_while_it_resumes(pair, disks)
    await there.restart_agent()
    # The master gives the order again, as to any agent that went away.
    live = await there.driver.resume(spec.uuid, disks)

    assert live.state is GuestState.PAUSED
    await there.phase(here.node, MirrorPhase.LOST)
    assert await there.holds(spec) == 0
    await here.driver.drop(spec.uuid)
    await there.driver.release_mirror(spec.uuid, 0, here.node.uuid)
    last = await there.writes(spec, 50)
    os.kill(live.pid, signal.SIGKILL)
    await there.until(lambda guest: guest.state is GuestState.DIED)
    assert numbered_writer.missing(there.node.path(pair.disk), last) == []


async def _killed_while_it_resumes(pair: Pair, disks: tuple[DiskSpec, ...]) -> None:
    """An agent of its own waits for the replica, which nobody serves, and is killed."""
    there, guest = pair.there, pair.spec.uuid
    given = [str(there.node.root), there.node.name, pair.cluster, DIRECTORY, guest]
    argv = [sys.executable, "-c", AGENT, *given, msgspec.json.encode(disks).decode()]
    agent = await asyncio.create_subprocess_exec(*argv)
    try:
        async with asyncio.timeout(PATIENCE):
            while not _may_have_run(pair, guest):
                assert agent.returncode is None
                await asyncio.sleep(0.02)  # a record tells nobody
    finally:
        agent.kill()
        await agent.wait()


def _may_have_run(pair: Pair, guest: Uuid) -> bool:
    """By the record: from then on the order is not carried out from its beginning."""
    record = pair.there.driver._files(guest).read()
    return record is not None and record.incoming is None
