"""A state that is given away ends at one node, whatever is lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.agents import Call, FakeAgents, Fault
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster, node_uuid
from tests.fakes.world import FakeNode

from gantry.host.clock import boottime
from gantry.jobs.handback import take_back
from gantry.jobs.journal import HandedOver
from gantry.jobs.queue import Engine
from gantry.jobs.recovery import read_snapshot
from gantry.main import handover
from gantry.model.errors import OperationFailed, Unavailable
from gantry.model.jobs import Job, JobStatus
from gantry.model.orders import StateComplete, StatePiece
from gantry.ports.store import StoreLocked
from gantry.store.sqlite import SqliteStore, open_sqlite

HERE, TARGET = node_uuid(1), node_uuid(2)


class Clock(FakeClock):
    """Fakes time but for what agents are told of it."""

    def monotonic(self) -> float:
        return boottime()


class Old:
    """The old master's node, after the job's final commit: its state is closed."""

    def __init__(self, root: Path, agents: FakeAgents) -> None:
        self.root = root
        self.agents = agents
        self.agents._now = boottime

    @property
    def target(self) -> FakeNode:
        return self.agents.world.nodes[TARGET]

    @property
    def state(self) -> Path:
        return self.root / "var/lib/gantry/state.db"

    @property
    def aside(self) -> list[Path]:
        return list(self.state.parent.glob("state.db.handed-over-*Z"))

    async def give(self) -> None:
        async with asyncio.timeout(100):
            await handover.give(self.root, HERE, self.agents, Clock())


@pytest.fixture
async def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Old]:
    monkeypatch.setattr("gantry.main.handover.timeouts.RECONNECT", 0.01)
    state = tmp_path / "var/lib/gantry/state.db"
    state.parent.mkdir(parents=True)
    cluster = await FakeCluster.make(store=await open_sqlite(state))
    engine = await cluster.start()
    await cluster._unfollow()
    with pytest.raises(Unavailable):
        await engine.wait(
            await cluster.submit({"OP_ID": "OP_MASTER_FAILOVER", "node_name": "node2.example.com"})
        )
    with pytest.raises(HandedOver):
        await engine.failed()
    await engine.abandon()
    await cluster.store.close()
    yield Old(tmp_path, cluster.agents)
    await cluster.agents.close()


def at(kind: type[Any], fault: Fault, times: int = 1) -> Any:
    """Meets the first orders of that kind with a fault."""
    left = [times]

    def decide(call: Call) -> Fault | None:
        if isinstance(call.order, kind) and left[0]:
            left[0] -= 1
            return fault
        return None

    return decide


def handed_over(old: Old) -> None:
    copy, files = old.target.taken_over
    assert copy
    assert set(files) == {"state"}
    assert not old.state.exists()
    assert len(old.aside) == 1


async def test_the_state_goes_to_the_target_and_is_set_aside(old: Old) -> None:
    await old.give()
    handed_over(old)
    assert list((old.root / "var/lib/gantry/outgoing").iterdir()) == []


@pytest.mark.parametrize("kind", [StatePiece, StateComplete])
@pytest.mark.parametrize("fault", [Fault.UNREACHABLE, Fault.ANSWER_LOST])
async def test_a_word_that_is_lost_is_said_again(old: Old, kind: type[Any], fault: Fault) -> None:
    old.agents.fault = at(kind, fault, 3)
    await old.give()
    handed_over(old)


@pytest.mark.parametrize("kind", [StatePiece, StateComplete])
@pytest.mark.parametrize("fault", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER])
async def test_who_dies_while_giving_goes_on_when_it_is_back(
    old: Old, kind: type[Any], fault: Fault
) -> None:
    old.agents.fault = at(kind, fault)
    giving = asyncio.create_task(old.give())
    await old.agents.crashed.wait()
    giving.cancel()
    await asyncio.gather(giving, return_exceptions=True)
    assert old.state.exists()
    await old.give()
    handed_over(old)


async def test_a_large_state_may_take_minutes_to_be_read_by_its_target(old: Old) -> None:
    """Who gives up before the target has ended would be master beside it."""
    given: list[float] = []

    def look(call: Call) -> None:
        if isinstance(call.order, StateComplete):
            given.append(call.envelope.timeout)

    old.agents.fault = look
    await old.give()
    # 100 GiB at 120 MiB a second.
    assert given and min(given) >= 100 * 1024 / 120
    handed_over(old)


async def test_a_target_that_refuses_leaves_the_old_master_and_a_failed_job(old: Old) -> None:
    old.target.waiting = False
    await old.give()
    assert old.target.taken_over == ("", {})
    assert old.state.exists()
    job = await stood_again(old)
    assert job.status is JobStatus.ERROR
    error = job.ops[0].error
    assert error is not None
    assert "waits" in error.message


async def test_a_target_that_cannot_keep_it_is_tried_again_and_then_refused(old: Old) -> None:
    old.agents.fault = at(StateComplete, Fault.FAILS, 2)
    await old.give()
    handed_over(old)


async def test_a_target_that_never_can_keep_it_leaves_the_old_master(old: Old) -> None:
    old.agents.fault = at(StateComplete, Fault.FAILS, 99)
    await old.give()
    assert old.state.exists()
    assert (await stood_again(old)).status is JobStatus.ERROR


async def test_who_hears_of_a_newer_master_gives_up_its_state(old: Old) -> None:
    """The target took over, and its answer was lost; other agents know."""
    old.agents.disconnect(old.target)
    newer = old.agents.seen_from(TARGET)
    await newer.announce(newer.address(newer.world.nodes[node_uuid(3)]), 99)
    await old.give()
    assert not old.state.exists()
    assert len(old.aside) == 1


async def test_nobody_is_master_while_the_target_cannot_be_asked(old: Old) -> None:
    old.agents.disconnect(old.target)
    tried = asyncio.Event()

    def count(call: Call) -> None:
        if call.number >= 5:
            tried.set()

    old.agents.fault = count
    giving = asyncio.create_task(old.give())
    await tried.wait()
    assert not giving.done()
    assert old.state.exists()
    old.agents.reconnect(old.target)
    await giving
    handed_over(old)


async def test_the_operator_may_take_the_state_back(old: Old) -> None:
    old.agents.disconnect(old.target)
    giving = asyncio.create_task(old.give())
    store = await opened(old)
    why = OperationFailed("the operator took it back")
    await take_back(store, await read_snapshot(store), HERE, why)
    await store.close()
    await giving
    assert old.state.exists()
    assert old.aside == []
    job = await stood_again(old)
    error = job.ops[0].error
    assert error is not None
    assert "the operator" in error.message


async def opened(old: Old) -> SqliteStore:
    """The state, as soon as who gives it away lets go of it for a moment."""
    while True:
        try:
            return await open_sqlite(old.state, create=False)
        except StoreLocked:
            await asyncio.sleep(0)


async def stood_again(old: Old) -> Job:
    """The only job, as the old master ends it."""
    cluster = await reopened(old)
    try:
        assert (await read_snapshot(cluster.store)).cluster.master_node == HERE
        engine: Engine = await cluster.start()
        [job] = engine.jobs()
        return await cluster.ended(job.id)
    finally:
        await cluster._unfollow()
        for engine in cluster.masters:
            await engine.abandon()
        await cluster.store.close()


async def reopened(old: Old) -> FakeCluster:
    clock = FakeClock()
    old.agents._now = clock.monotonic
    old.agents.fault = lambda call: None
    return FakeCluster(await open_sqlite(old.state, create=False), old.agents, clock)
