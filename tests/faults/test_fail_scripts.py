"""The scripts of ``-fail.d``: told once of every operation that fails, and of no other.

An operation is denied, or its last effect fails; and besides the master dies at every order and
at every commit of that.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest
from tests.fakes.agents import Call, Fault
from tests.fakes.cluster import FakeCluster, node_uuid
from tests.faults.breaking import (
    BreakingStore,
    begin,
    clean,
    ended,
    is_effect,
    make,
    next_master,
    nothing_left,
    order_name,
    until_crash_or_end,
)
from tests.faults.situation import Situation, Unsure
from tests.faults.situations import SITUATIONS
from tests.faults.test_every_effect import Once

from gantry.hooks.table import ROWS
from gantry.jobs.phases import Phases
from gantry.model.codec import decode, encode
from gantry.model.entities import CLUSTER_KEY
from gantry.model.jobs import DryRun, Job, JobStatus
from gantry.model.orders import HooksRun
from gantry.ports.store import Put

Wrong = Callable[[Call], Fault | None]
Way = Callable[[FakeCluster, tuple[str, ...]], Wrong]
"""Makes an operation fail whose orders are those; gives what goes wrong with its orders."""


def _denied(cluster: FakeCluster, orders: tuple[str, ...]) -> Wrong:
    [asked, *_] = [name for name in orders if "/hooks-pre/" in name]
    for node in cluster.world.nodes.values():
        if asked.endswith("@" + node.name):
            for directory in DIRECTORIES:
                node.add_hook(directory, "10-no", exit_status=1, output="not today")
    return lambda call: None


def _failed(cluster: FakeCluster, orders: tuple[str, ...]) -> Wrong:
    *_, last = filter(_fails_all, orders)
    return Once(last, Fault.FAILS)


def _fails_all(order: str) -> bool:
    """Whether the operation fails with it, and leaves all as it was.

    That of a rename script is a warning, so are those of replicas beside the primary's.
    """
    return is_effect(order) and not order.startswith(_TOLERATED)


_TOLERATED = (
    "0/os-rename",
    "0/serve-replica/",
    "0/close-replica/0/",
    "0/close-replica/1/",
    "0/look-at-replicas",
    "0/mark-replica/",
    "0/attach-mirror/",
)


WAYS: dict[str, Way] = {"denied": _denied, "failed": _failed}
DIRECTORIES = tuple(
    f"{row.directory(version)}-pre.d" for row in ROWS.values() for version in (1, 2)
)


def runs(cluster: FakeCluster, phase: str) -> list[tuple[str, HooksRun]]:
    """Every run of that phase, with the node's name."""
    return [
        (node.name, order)
        for node in cluster.world.nodes.values()
        for order in node.hook_runs
        if order.directories[0].name.endswith(f"-{phase}.d")
    ]


def times(cluster: FakeCluster) -> Counter[str]:
    """How often the scripts of ``-fail.d`` ran, by node."""
    return Counter(name for name, _ in runs(cluster, "fail"))


async def orders_of(situation: Situation) -> tuple[str, ...]:
    """Those that it does not tolerate the failure of."""
    orders = (await clean(situation)).orders
    return tuple(one for one in orders if not one.startswith(situation.tolerated))


async def possible(situation: Situation, way: str) -> bool:
    orders = await orders_of(situation)
    asked = any("/hooks-pre/" in name for name in orders)
    return asked and (way == "denied" or any(map(_fails_all, orders)))


async def failing(situation: Situation, way: str) -> tuple[FakeCluster, Job]:
    """Run it with nothing but its own failure."""
    cluster = await make(situation)
    cluster.agents.fault = WAYS[way](cluster, await orders_of(situation))
    job = await cluster.run(situation.op, secrets=situation.secrets)
    await cluster.engine.settle()
    return cluster, job


def check(cluster: FakeCluster, job: Job | None, expected: Counter[str]) -> None:
    """Each node once where it failed; nobody where it did not."""
    if job is None or job.status is JobStatus.SUCCESS:
        assert not times(cluster)
    else:
        assert times(cluster) == expected, job.ops[0].error


@pytest.fixture(params=SITUATIONS, ids=lambda one: one.name)
def situation(request: pytest.FixtureRequest) -> Situation:
    found: Situation = request.param
    return found


@pytest.mark.parametrize("way", WAYS)
async def test_an_operation_that_fails_is_told_once_on_every_node(
    situation: Situation, way: str
) -> None:
    if not await possible(situation, way):
        return
    cluster, job = await failing(situation, way)
    assert job.status is JobStatus.ERROR
    asked = {name for name, _ in runs(cluster, "pre")}
    assert asked <= times(cluster).keys()
    assert set(times(cluster).values()) == {1}
    # What the configuration keeps of a failure is a change of it.
    keeps = situation.keeps or situation.unsure is Unsure.DISKS
    kept = {"config-update-post.d"} if keeps and way == "failed" else set()
    assert {order.directories[0].name for _, order in runs(cluster, "post")} == kept
    [before, *_] = [order for _, order in runs(cluster, "pre")]
    for _, order in runs(cluster, "fail"):
        assert order.extra["GANTRY_FAILURE"] == way
        assert job.ops[0].error is not None
        assert order.extra["GANTRY_FAILURE_MESSAGE"] in job.ops[0].error.message
        assert order.run_id == before.run_id
    await nothing_left(cluster)
    await cluster.close()


async def test_an_operation_that_succeeds_is_told_to_nobody(situation: Situation) -> None:
    cluster = await make(situation)
    job = await cluster.run(situation.op, secrets=situation.secrets)
    await cluster.engine.settle()
    assert job.status is JobStatus.SUCCESS
    assert not times(cluster)
    await cluster.close()


@pytest.mark.parametrize("fault", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER])
@pytest.mark.parametrize("way", WAYS)
async def test_also_where_the_master_dies_at_an_order(
    situation: Situation, way: str, fault: Fault
) -> None:
    if not await possible(situation, way):
        return
    alone, _ = await failing(situation, way)
    expected = times(alone)
    names = tuple(dict.fromkeys(order_name(call) for call in alone.agents.calls))
    await alone.close()
    for name in names:
        cluster = await make(situation)
        wrong, once = WAYS[way](cluster, await orders_of(situation)), Once(name, fault)

        def both(call: Call, wrong: Wrong = wrong, once: Once = once) -> Fault | None:
            return once(call) or wrong(call)

        cluster.agents.fault = both
        submitted = await begin(cluster, situation)
        if await until_crash_or_end(cluster, cluster.agents.crashed):
            await next_master(cluster)
        job = await ended(cluster)
        check(cluster, job, expected)
        await nothing_left(cluster)
        await asyncio.gather(submitted, return_exceptions=True)
        await cluster.close()


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_also_where_the_master_dies_at_a_commit(
    situation: Situation, way: str, applied: bool
) -> None:
    if not await possible(situation, way):
        return
    alone, _ = await failing(situation, way)
    expected = times(alone)
    await alone.close()
    met, number = True, 0
    while met:
        store = BreakingStore()
        cluster = await make(situation, store=store)
        cluster.agents.fault = WAYS[way](cluster, await orders_of(situation))
        store.at, store.applied = store.seen + number, applied
        submitted = await begin(cluster, situation)
        met = await until_crash_or_end(cluster, store.crashed)
        if met:
            await next_master(cluster)
        check(cluster, await ended(cluster), expected)
        await nothing_left(cluster)
        await asyncio.gather(submitted, return_exceptions=True)
        await cluster.close()
        number += 1
    assert number > 1


async def test_a_job_that_is_cancelled_says_so(situation: Situation) -> None:
    if not await possible(situation, "failed"):
        return
    [first, *_] = filter(is_effect, await orders_of(situation))
    cluster = await make(situation)
    asked: list[asyncio.Task[str]] = []

    def cancel(call: Call) -> Fault | None:
        if order_name(call) == first and not asked:
            asked.append(asyncio.create_task(cluster.engine.cancel(cluster.only_job, kill=True)))
        return None

    cluster.agents.fault = cancel
    job = await cluster.run(situation.op, secrets=situation.secrets)
    await cluster.engine.settle()
    await asyncio.gather(*asked, return_exceptions=True)
    if job.status is JobStatus.CANCELED:
        kinds = {order.extra["GANTRY_FAILURE"] for _, order in runs(cluster, "fail")}
        assert kinds == {"cancelled"}
    else:
        assert not times(cluster)
    await cluster.close()


async def test_what_a_master_left_that_cannot_be_gone_on_with_is_unwound() -> None:
    [situation] = [one for one in SITUATIONS if one.name == "add with a secret"]
    cluster = await make(situation)
    first = next(name for name in await orders_of(situation) if is_effect(name))
    cluster.agents.fault = Once(first, Fault.CRASH_AFTER)
    submitted = await begin(cluster, situation)
    assert await until_crash_or_end(cluster, cluster.agents.crashed)
    await next_master(cluster)
    job = await ended(cluster)
    assert job is not None and job.status is JobStatus.ERROR
    found = runs(cluster, "fail")
    assert {order.extra["GANTRY_FAILURE"] for _, order in found} == {"unwound"}
    assert "submit the job again" not in found[0][1].extra["GANTRY_FAILURE_MESSAGE"]
    assert "the master was restarted" in found[0][1].extra["GANTRY_FAILURE_MESSAGE"]
    await asyncio.gather(submitted, return_exceptions=True)
    await cluster.close()


async def test_the_node_of_a_master_that_has_moved_is_told_too() -> None:
    """Its scripts were asked before; the next master's node is another."""
    [situation] = [one for one in SITUATIONS if one.name == "add diskless"]
    cluster = await make(situation)
    effect = next(name for name in await orders_of(situation) if is_effect(name))
    cluster.agents.fault = Once(effect, Fault.CRASH_AFTER)
    submitted = await begin(cluster, situation)
    assert await until_crash_or_end(cluster, cluster.agents.crashed)
    asked = {name for name, _ in runs(cluster, "pre")}
    assert asked == {"node1.example.com", "node2.example.com"}
    await cluster.crash()
    [item] = [await cluster.store.get(CLUSTER_KEY)]
    assert item is not None
    moved = msgspec.structs.replace(decode(CLUSTER_KEY, item.value), master_node=node_uuid(3))
    await cluster.store.txn([], [Put(CLUSTER_KEY, encode(moved))])
    cluster.agents.fault = Once(effect, Fault.FAILS)
    await cluster.start()
    job = await ended(cluster)
    assert job is not None and job.status is JobStatus.ERROR
    assert times(cluster) == Counter({*asked, "node3.example.com"})
    await asyncio.gather(submitted, return_exceptions=True)
    await cluster.close()


async def test_a_denied_try_is_told_to_nobody() -> None:
    [situation] = [one for one in SITUATIONS if one.name == "start"]
    cluster = await make(situation)
    _denied(cluster, await orders_of(situation))
    job = await cluster.run(situation.op, dry_run=DryRun.HOOKS)
    assert job.ops[0].error is not None and job.ops[0].error.code == "hooks-denied"
    assert runs(cluster, "pre") and not times(cluster)
    await cluster.close()


async def test_a_failing_script_is_a_warning_and_the_error_stays() -> None:
    [situation] = [one for one in SITUATIONS if one.name == "start"]
    cluster = await make(situation)
    _denied(cluster, await orders_of(situation))
    for node in cluster.world.nodes.values():
        node.add_hook("instance-start-fail.d", "50-mail", exit_status=1, output="no mail")
    job = await cluster.run(situation.op)
    assert job.ops[0].error is not None and job.ops[0].error.code == "hooks-denied"
    log = [entry.text for entry in await cluster.engine.log(job.id)]
    expected = "On node1.example.com script instance-start-fail.d/50-mail failed, output: no mail"
    assert expected in log
    await cluster.close()


async def test_a_node_that_does_not_answer_is_said_and_holds_nothing_up() -> None:
    [situation] = [one for one in SITUATIONS if one.name == "start"]
    cluster = await make(situation)
    _denied(cluster, await orders_of(situation))
    cluster.agents.fault = lambda call: (
        Fault.UNREACHABLE if "/hooks-fail/" in call.envelope.key else None
    )
    job = await cluster.run(situation.op)
    assert job.status is JobStatus.ERROR
    log = [entry.text for entry in await cluster.engine.log(job.id)]
    assert any("could not run its fail scripts" in text for text in log)
    await cluster.close()


async def test_a_fault_of_ours_in_telling_a_failure_ends_the_job_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(*_: object) -> None:
        raise KeyError("a fault")

    monkeypatch.setattr(Phases, "run_failed", broken)
    [situation] = [one for one in SITUATIONS if one.name == "start"]
    cluster = await make(situation)
    _denied(cluster, await orders_of(situation))
    job = await cluster.run(situation.op)
    assert job.ops[0].error is not None and job.ops[0].error.code == "hooks-denied"
    log = [entry.text for entry in await cluster.engine.log(job.id)]
    assert any("kept the scripts for a failure from being run" in text for text in log)
    await nothing_left(cluster)
    await cluster.close()
