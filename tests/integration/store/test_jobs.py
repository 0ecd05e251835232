"""Jobs on a real etcd: one path through each mechanism that the fault tests break everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

import pytest
from tests.fakes.agents import Call, Fault
from tests.fakes.cluster import FakeCluster, instance
from tests.faults.breaking import (
    Clean,
    begin,
    check,
    clean,
    ended,
    is_effect,
    make,
    next_master,
    order_name,
    until_crash_or_end,
)
from tests.faults.situations import SITUATIONS
from tests.integration.store.conftest import Open
from tests.support.etcd import Etcd

from gantry.model.errors import Unavailable
from gantry.model.jobs import JobStatus
from gantry.ports.store import Compare, Event, Item, Lease, Operation, Put, Range, Store

ADD = next(one for one in SITUATIONS if one.opcode == "OP_INSTANCE_CREATE")
DUMMY = {"OP_ID": "OP_TEST_DUMMY"}
Made = Callable[[Store], Awaitable[FakeCluster]]


class Dying:
    """A store at whose transaction ``at`` the master is gone, before or after it was applied."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.at: int | None = None
        self.applied = False
        self.crashed = asyncio.Event()
        self.seen = 0

    @property
    def commits(self) -> int:
        return self._store.commits

    @property
    def flushes(self) -> int:
        return self._store.flushes

    async def get(self, key: str) -> Item | None:
        return await self._store.get(key)

    async def range(self, prefix: str) -> Range:
        return await self._store.range(prefix)

    async def txn(self, compare: Sequence[Compare], ops: Sequence[Operation]) -> int:
        number, self.seen = self.seen, self.seen + 1
        if number != self.at:
            return await self._store.txn(compare, ops)
        if self.applied:
            await self._store.txn(compare, ops)
        self.crashed.set()
        never: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        return await never

    def watch(self, prefix: str, after: int) -> AsyncGenerator[tuple[Event, ...], None]:
        return self._store.watch(prefix, after)

    async def grant(self, ttl_seconds: float) -> Lease:
        return await self._store.grant(ttl_seconds)

    async def compact(self, revision: int) -> None:
        await self._store.compact(revision)

    async def close(self) -> None:
        await self._store.close()


_known: list[Clean] = []


@pytest.fixture
async def undisturbed() -> Clean:
    if not _known:
        _known.append(await clean(ADD))
    return _known[0]


@pytest.fixture
async def made(opened: Open, members: Etcd) -> AsyncIterator[Made]:
    """The situation of adding an instance, on a store."""
    clusters = []

    async def make_(store: Store) -> FakeCluster:
        clusters.append(await make(ADD, store=store))
        return clusters[-1]

    yield make_
    for cluster in clusters:
        await cluster.close()


def effect(undisturbed: Clean) -> str:
    """One in the middle."""
    effects = [name for name in undisturbed.orders if is_effect(name)]
    return effects[len(effects) // 2]


def once(name: str, fault: Fault) -> Callable[[Call], Fault | None]:
    met: list[Call] = []

    def decide(call: Call) -> Fault | None:
        if met or order_name(call) != name:
            return None
        met.append(call)
        return fault

    return decide


@pytest.mark.parametrize("fault", [Fault.FAILS_AFTER, Fault.ANSWER_LOST])
async def test_an_effect_that_goes_wrong(
    members: Etcd, opened: Open, made: Made, undisturbed: Clean, fault: Fault
) -> None:
    cluster = await made(await opened(members.urls))
    cluster.agents.fault = once(effect(undisturbed), fault)
    job = await cluster.run(ADD.op, secrets=ADD.secrets)
    await check(cluster, job, undisturbed)


@pytest.mark.parametrize("fault", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER])
async def test_a_master_that_dies_at_an_order(
    members: Etcd, opened: Open, made: Made, undisturbed: Clean, fault: Fault
) -> None:
    cluster = await made(await opened(members.urls))
    cluster.agents.fault = once(effect(undisturbed), fault)
    submitted = await begin(cluster, ADD)
    assert await until_crash_or_end(cluster, cluster.agents.crashed)
    await next_master(cluster)
    await check(cluster, await ended(cluster), undisturbed)
    await asyncio.gather(submitted, return_exceptions=True)


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("number", [0, 2])
async def test_a_master_that_dies_at_a_commit(
    members: Etcd, opened: Open, made: Made, undisturbed: Clean, number: int, applied: bool
) -> None:
    store = Dying(await opened(members.urls))
    cluster = await made(store)
    store.at, store.applied = store.seen + number, applied
    submitted = await begin(cluster, ADD)
    assert await until_crash_or_end(cluster, store.crashed)
    acknowledged = submitted.done() and submitted.exception() is None
    await next_master(cluster)
    job = await ended(cluster)
    assert job is not None or not acknowledged
    await check(cluster, job, undisturbed)
    await asyncio.gather(submitted, return_exceptions=True)


async def test_a_job_that_is_cancelled_at_an_effect(
    members: Etcd, opened: Open, made: Made, undisturbed: Clean
) -> None:
    cluster = await made(await opened(members.urls))
    asked: list[asyncio.Task[str]] = []

    def cancel(call: Call) -> Fault | None:
        if order_name(call) == effect(undisturbed) and not asked:
            asked.append(asyncio.create_task(cluster.engine.cancel(cluster.only_job, kill=True)))
        return None

    cluster.agents.fault = cancel
    job = await cluster.run(ADD.op, secrets=ADD.secrets)
    await cluster.engine.settle()
    [said] = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(said, str) == (job.status is JobStatus.CANCELED), said
    await check(cluster, job, undisturbed)


async def test_a_hundred_jobs_at_once_and_one_that_is_too_large(
    members: Etcd, opened: Open
) -> None:
    cluster = await FakeCluster.make([instance(1)], store=await opened(members.urls))
    await cluster.start()
    jobs = [asyncio.create_task(cluster.run(DUMMY)) for _ in range(100)]
    large = asyncio.create_task(cluster.run({**DUMMY, "messages": ("x" * 400_000,) * 2}))
    done = await asyncio.gather(*jobs)
    assert {job.status for job in done} == {JobStatus.SUCCESS}
    await asyncio.gather(large, return_exceptions=True)
    await cluster.engine.settle()
    assert cluster.engine.idle
    await cluster.close()


async def test_a_master_that_was_replaced_writes_nothing_more(members: Etcd, opened: Open) -> None:
    cluster = await FakeCluster.make([instance(1)], store=await opened(members.urls))
    old = await cluster.start()
    other = await opened(members.urls)
    await other.txn([], [Put("election", b'{"epoch":9,"node":"n","since":0,"v":1}')])
    with pytest.raises(Unavailable):
        await old.submit(cluster.submission(DUMMY))
    with pytest.raises(Unavailable, match="master no more"):
        await old.failed()
    assert await cluster.keys("jobs/") == []
    await cluster.close()
