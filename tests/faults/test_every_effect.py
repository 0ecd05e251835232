"""Every effect of every operation is broken in turn; the world is never left between."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator

import pytest
from tests.fakes.agents import Call, Fault
from tests.fakes.cluster import FakeCluster
from tests.faults.breaking import (
    BreakingStore,
    Clean,
    begin,
    check,
    clean,
    ended,
    is_effect,
    is_owed,
    make,
    next_master,
    order_name,
    until_crash_or_end,
)
from tests.faults.situation import Situation
from tests.faults.situations import SITUATIONS

from gantry.model.jobs import JobStatus
from gantry.operations import registry

_known: dict[str, Clean] = {}


@pytest.fixture(params=SITUATIONS, ids=lambda one: one.name)
def situation(request: pytest.FixtureRequest) -> Situation:
    found: Situation = request.param
    return found


@pytest.fixture
async def undisturbed(situation: Situation) -> AsyncIterator[Clean]:
    if situation.name not in _known:
        _known[situation.name] = await clean(situation)
    yield _known[situation.name]


class Once:
    """Meets the order called ``name`` with ``fault``, the first time it is seen."""

    def __init__(self, name: str, fault: Fault) -> None:
        self.name = name
        self.fault = fault
        self.met = False

    def __call__(self, call: Call) -> Fault | None:
        if self.met or order_name(call) != self.name:
            return None
        self.met = True
        return self.fault


@pytest.mark.parametrize("opcode", sorted(registry.PLACES))
def test_every_operation_has_a_situation(opcode: str) -> None:
    assert opcode in {situation.opcode for situation in SITUATIONS}


async def test_at_most_one_awaited_commit_more_than_effects(
    situation: Situation, undisturbed: Clean
) -> None:
    # What must stand before the very first effect stands after the scripts: one more.
    first = undisturbed.mirrored
    assert undisturbed.commits <= undisturbed.waves + 1 + _scripts_only(undisturbed) + first


@pytest.mark.parametrize(
    "fault", [Fault.FAILS, Fault.FAILS_AFTER, Fault.UNREACHABLE, Fault.ANSWER_LOST]
)
async def test_an_effect_that_goes_wrong_is_undone_or_overcome(
    situation: Situation, undisturbed: Clean, fault: Fault
) -> None:
    for name in filter(is_effect, undisturbed.orders):
        cluster = await make(situation)
        cluster.agents.fault = Once(name, fault)
        job = await cluster.run(situation.op, secrets=situation.secrets)
        await cluster.engine.settle()
        await check(cluster, job, undisturbed)
        if situation.name != "master failover":  # which another master has ended
            assert not cluster.agents.remembered, "no agent need know of an ended job"
        await cluster.close()


@pytest.mark.parametrize("fault", [Fault.UNREACHABLE, Fault.VANISHES])
async def test_a_node_that_goes_away_at_an_effect_is_cleaned_when_it_is_back(
    situation: Situation, undisturbed: Clean, fault: Fault
) -> None:
    for name in filter(lambda name: is_effect(name) or is_owed(name), undisturbed.orders):
        cluster = await make(situation)
        once = Once(name, fault)

        def gone(call: Call, once: Once = once, cluster: FakeCluster = cluster) -> Fault | None:
            met = once(call)
            if met is Fault.UNREACHABLE:
                cluster.agents.disconnect(call.node)
            return met

        cluster.agents.fault = gone
        job = await cluster.run(situation.op, secrets=situation.secrets)
        cluster.agents.fault = lambda call: None
        for node in cluster.world.nodes.values():
            cluster.agents.reconnect(node)
        await cluster.engine.settle()
        await next_master(cluster)
        await cluster.engine.settle()
        await check(cluster, job, undisturbed)
        await cluster.close()


@pytest.mark.parametrize("fault", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER])
async def test_a_master_that_dies_at_an_order_is_followed_by_one_that_ends_the_job(
    situation: Situation, undisturbed: Clean, fault: Fault
) -> None:
    for name in undisturbed.orders:
        cluster = await make(situation)
        cluster.agents.fault = Once(name, fault)
        submitted = await begin(cluster, situation)
        met = await until_crash_or_end(cluster, cluster.agents.crashed)
        assert met, name
        await next_master(cluster)
        job = await ended(cluster)
        assert job is not None
        await check(cluster, job, undisturbed)
        await asyncio.gather(submitted, return_exceptions=True)
        await cluster.close()


@pytest.mark.parametrize("applied", [False, True])
async def test_a_master_that_dies_at_a_commit_is_followed_by_one_that_ends_the_job(
    situation: Situation, undisturbed: Clean, applied: bool
) -> None:
    met, number = True, 0
    while met:
        store = BreakingStore()
        cluster = await make(situation, store=store)
        store.at, store.applied = store.seen + number, applied
        submitted = await begin(cluster, situation)
        met = await until_crash_or_end(cluster, store.crashed)
        acknowledged = submitted.done() and submitted.exception() is None
        if met:
            await next_master(cluster)
        job = await ended(cluster)
        assert job is not None or not acknowledged
        await check(cluster, job, undisturbed)
        await asyncio.gather(submitted, return_exceptions=True)
        await cluster.close()
        number += 1
    assert number > 1


async def test_a_job_cancelled_at_an_effect_is_undone_or_done(
    situation: Situation, undisturbed: Clean
) -> None:
    for name in filter(is_effect, undisturbed.orders):
        cluster = await make(situation)
        asked: list[asyncio.Task[str]] = []

        def cancel(
            call: Call,
            name: str = name,
            asked: list[asyncio.Task[str]] = asked,
            cluster: FakeCluster = cluster,
        ) -> Fault | None:
            if order_name(call) == name and not asked:
                asked.append(
                    asyncio.create_task(cluster.engine.cancel(cluster.only_job, kill=True))
                )
            return None

        cluster.agents.fault = cancel
        job = await cluster.run(situation.op, secrets=situation.secrets)
        await cluster.engine.settle()
        [said] = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(said, str) == (job.status is JobStatus.CANCELED), said
        await check(cluster, job, undisturbed)
        await cluster.close()


def _scripts_only(undisturbed: Clean) -> int:
    """Scripts without effects: the plan is durable before them."""
    return undisturbed.waves == 0 and any("hooks-" in name for name in undisturbed.orders)


def test_the_registry_is_importable() -> None:
    for place in registry.PLACES.values():
        module = place.partition(":")[0]
        assert importlib.util.find_spec(f"gantry.operations.{module}")
