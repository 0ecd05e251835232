"""A guest with mirrored disks goes to the node of a replica as it runs, and loses no write."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support import moving_pairs, numbered_writer
from tests.support.moving_pairs import Pair

from gantry.hypervisors.kvm import barrier, layers, mirrored_moves, outgoing
from gantry.model import timeouts
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.live import GuestState, MirrorPhase

pytestmark = pytest.mark.qemu


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with moving_pairs.made(tmp_path) as pair:
        yield pair


async def test_it_goes_there_and_back_is_mirrored_to_from_the_first_write_on(pair: Pair) -> None:
    here, there, spec = pair.here, pair.there, pair.spec

    await pair.send(await pair.receive())
    assert here.driver.guests()[0].mirrors == ()
    last = here.acknowledged(spec)
    for node in (here.node, there.node):
        assert numbered_writer.missing(node.path(pair.disk), last) == []
    [disk] = await pair.promote()
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
    await mirrored_moves.leave(running, there.node.uuid, sending._barriers)

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
    monitor = await here.driver._running[spec.uuid].monitor(timeouts.QMP)
    assert not await barrier.there(monitor, 0)
    with pytest.raises((Rejected, OperationFailed)):
        await there.driver.resume(spec.uuid, pair.after)


async def test_one_whose_replica_there_was_lost_does_not_go(pair: Pair) -> None:
    here, there, spec = pair.here, pair.there, pair.spec
    ports = await pair.receive()
    await there.node.vanish(pair.disk)
    await here.phase(there.node, MirrorPhase.LOST)
    await here.driver.release_mirror(spec.uuid, 0, there.node.uuid)

    with pytest.raises(OperationFailed, match="not in sync any more"):
        await pair.send(ports)

    await here.writes(spec, 50)


async def test_a_layer_that_comes_between_keeps_no_write_from_being_stopped(pair: Pair) -> None:
    """What was made ready for the moment in which the guest stands still is made anew then."""
    here, spec = pair.here, pair.spec
    monitor = await here.driver._running[spec.uuid].monitor(timeouts.QMP)
    prepared = await barrier.prepare(monitor, [0])
    assert not await barrier.closed(monitor, 0)
    await here.writes(spec, 20)
    there = await layers.found(monitor, 0)
    assert prepared == {0: there.node(there.top)}
    await layers.add(monitor, 0, there.top + 1, there.node(there.top))
    await layers.move_device(monitor, 0, layers.layer(0, there.top + 1))

    await monitor.execute("stop")
    await barrier.bar(monitor, [0], prepared)
    await barrier.bar(monitor, [0], {})
    assert await barrier.closed(monitor, 0)
    await monitor.execute("cont")
    await here.until(lambda guest: guest.reason == "paused by an error of a disk")
    last = await here.holds(spec)
    assert numbered_writer.missing(pair.there.node.path(pair.disk), last) == []

    await barrier.forget(monitor, [0])  # it is in use
    assert await barrier.closed(monitor, 0)
    await barrier.lower(monitor, 0)
    assert await layers.of_device(monitor, 0) == layers.layer(0, there.top + 1)
    await monitor.execute("cont")
    await here.writes(spec, 50)


async def test_replicas_whose_daemons_have_died_since_they_were_made_ready(pair: Pair) -> None:
    here, there, spec = pair.here, pair.there, pair.spec
    await pair.send(await pair.receive())
    waiting = pair.waits[pair.disk.uuid]
    serving = there.node.daemons.served(pair.disk.uuid)
    assert serving is not None
    for one in (waiting, serving):
        os.kill(one.pid, signal.SIGKILL)

    [disk] = await pair.promote()
    live = await there.driver.resume(spec.uuid, (disk,))
    assert [(one.node, one.phase) for one in live.mirrors] == [(here.node.uuid, MirrorPhase.READY)]
    await here.driver.stop(spec.uuid, timeout=0, force=True)
    await there.writes(spec, 50)
    await there.driver.stop(spec.uuid, timeout=0, force=True)
    assert here.node.path(disk).read_bytes() == there.node.path(disk).read_bytes()


async def test_the_next_agents_go_on_with_it(pair: Pair) -> None:
    here, there, spec = pair.here, pair.there, pair.spec
    await pair.send(await pair.receive())
    await here.restart_agent()
    await there.restart_agent()
    assert (await there.node.seen(pair.disk)).generation == 1

    [disk] = await pair.promote()
    await there.driver.resume(spec.uuid, (disk,))
    await here.driver.stop(spec.uuid, timeout=0, force=True)
    await there.restart_agent()

    await there.phase(here.node, MirrorPhase.READY)
    await there.writes(spec, 50)
    await there.driver.stop(spec.uuid, timeout=0, force=True)
    assert here.node.path(disk).read_bytes() == there.node.path(disk).read_bytes()
