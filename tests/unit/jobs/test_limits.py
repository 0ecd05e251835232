"""No job, however large it is or becomes, gets in the way of another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from tests.fakes.agents import Call, Fault
from tests.fakes.cluster import FakeCluster, instance

from gantry.jobs import codec, limits
from gantry.jobs.codec import StoredJob
from gantry.jobs.log import Log
from gantry.model.errors import GantryError, OperationFailed, Rejected
from gantry.model.jobs import Job, JobStatus, LogKind, OpRecord
from gantry.model.names import JobId
from gantry.model.orders import Delay
from gantry.ports.store import MAX_VALUE_BYTES, Compare, Operation, Put
from gantry.store.memory import MemoryStore

DUMMY: dict[str, Any] = {"OP_ID": "OP_TEST_DUMMY"}
DELAY: dict[str, Any] = {
    "OP_ID": "OP_TEST_DELAY",
    "duration": 3600,
    "on_master": False,
    "on_nodes": ["node2"],
}


@pytest.mark.parametrize(
    ("ops", "fields"),
    [
        ([DUMMY], {"reason": (("me", "x" * 700_000, 1),)}),
        ([DUMMY], {"reason": (("me", "x", 1),) * 5000}),
        ([DUMMY], {"requester": "x" * 700_000}),
        ([DUMMY], {"request_id": "x" * 700_000}),
        ([DUMMY], {"secrets": ({"password": "x" * 700_000},)}),
        ([DUMMY] * 3000, {}),
        ([{"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "x" * 260_000}], {}),
        ([{"OP_ID": "OP_TAGS_SET", "kind": "cluster", "tags": ["x" * 600_000]}], {}),
    ],
)
async def test_a_job_that_is_too_large_is_refused_and_others_run(
    cluster: FakeCluster, ops: list[dict[str, Any]], fields: dict[str, Any]
) -> None:
    with pytest.raises(Rejected, match="at most"):
        await cluster.submit(*ops, **fields)
    assert (await cluster.run(DUMMY)).status is JobStatus.SUCCESS


async def test_an_error_of_any_length_ends_its_job_only(cluster: FakeCluster) -> None:
    def fault(call: Call) -> Fault | None:
        if isinstance(call.order, Delay):
            raise OperationFailed("no" * 350_000)
        return None

    cluster.agents.fault = fault
    job = await cluster.run(DELAY)
    assert job.status is JobStatus.ERROR
    assert job.ops[0].error is not None
    assert job.ops[0].error.message.startswith("no")
    assert len(job.ops[0].error.message) < 10_000
    assert (await cluster.run(DUMMY)).status is JobStatus.SUCCESS


async def test_a_result_that_is_too_large_is_replaced_by_a_note(cluster: FakeCluster) -> None:
    job = await cluster.run({**DUMMY, "result": "x" * 100_000})
    assert (job.status, job.ops[0].result) == (
        JobStatus.SUCCESS,
        "(a result of 100002 bytes is not kept)",
    )


def test_a_job_of_many_results_is_cut_down() -> None:
    record = OpRecord(input=DUMMY, result="x" * 60_000, error=OperationFailed("x" * 8000).info())
    job = Job(id=JobId(1), uid="u", ops=(record,) * limits.MAX_OPS)
    assert len(codec.encode(limits.cut_down(job))) < limits.MAX_RECORD


def test_a_log_of_control_characters_fits_the_store() -> None:
    log = Log()
    for number in range(2000):
        log.add(1.0, "\x01" * 4000, LogKind.SCRIPT, number)
    tail = codec.encode(codec.StoredLog(entries=log.tail()))
    assert 0 < len(tail) < MAX_VALUE_BYTES // 2


async def test_a_running_job_whose_record_does_not_fit_any_more_is_undone_at_the_next_start() -> (
    None
):
    cluster = await FakeCluster.make([instance(1)])
    await cluster.start()
    job = await cluster.submit(DELAY)
    while not any(isinstance(call.order, Delay) for call in cluster.agents.calls):  # noqa: ASYNC110
        await asyncio.sleep(0)
    await cluster.crash()
    item = await cluster.store.get(codec.job_key(job))
    assert item is not None
    stored = codec.decode(item.key, item.value, StoredJob)

    def grown(length: int) -> bytes:
        now = msgspec.structs.replace(stored.job, attempt=9, reason=(("", "x" * length, 0),))
        return codec.encode(msgspec.structs.replace(stored, job=now))

    value = grown(MAX_VALUE_BYTES - len(grown(0)))
    await cluster.store.txn([], [Put(item.key, value)])
    engine = await cluster.start()
    async with asyncio.timeout(100):
        ended = await engine.wait(job)
    assert ended.status is JobStatus.ERROR
    assert (await cluster.run(DUMMY)).status is JobStatus.SUCCESS
    await engine.settle()
    assert await cluster.keys("journal/") == []
    await cluster.close()


class FaultyStore(MemoryStore):
    """``broken`` says of which transactions a fault of ours shows up."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: Callable[[Sequence[Operation]], bool] = lambda ops: False

    async def txn(self, compare: Sequence[Compare], ops: Sequence[Operation]) -> int:
        """See the port."""
        if self.broken(ops):
            raise ValueError("a fault")
        return await super().txn(compare, ops)


def ends(job: JobId, ops: Sequence[Operation]) -> bool:
    """Whether they write that the job has ended."""
    return any(
        isinstance(one, Put)
        and one.key == codec.job_key(job)
        and codec.decode(one.key, one.value, StoredJob).job.status.ended
        for one in ops
    )


async def test_a_fault_in_one_job_ends_that_job_only() -> None:
    store = FaultyStore()
    cluster = await FakeCluster.make(store=store)
    engine = await cluster.start()
    other = await cluster.submit(DELAY)
    job = await cluster.submit({**DELAY, "on_nodes": ["node3"]})
    async with asyncio.timeout(100):
        said = await anext(change.entries async for change in engine.follow(job) if change.entries)
    left = 2

    def broken(ops: Sequence[Operation]) -> bool:
        nonlocal left
        if left and ends(job, ops):
            left -= 1
            return True
        return False

    store.broken = broken
    await engine.cancel(job, kill=True)
    async with asyncio.timeout(100):
        ended = await engine.wait(job)
    assert (ended.status, left) == (JobStatus.ERROR, 0)
    assert ended.ops[0].error is not None
    assert "a fault in Gantry itself" in ended.ops[0].error.message
    kept = await engine.log(job)
    assert kept[: len(said)] == said, "what it had said may tell what went wrong"
    assert (await cluster.run(DUMMY)).status is JobStatus.SUCCESS
    assert (await engine.get(other)).status is JobStatus.RUNNING
    await cluster.close()


async def test_a_job_that_cannot_be_ended_at_all_ends_the_master() -> None:
    store = FaultyStore()
    cluster = await FakeCluster.make(store=store)
    engine = await cluster.start()
    job = await cluster.submit(DELAY)
    store.broken = lambda ops: ends(job, ops)
    await engine.cancel(job, kill=True)
    async with asyncio.timeout(100):
        with pytest.raises(GantryError, match="could not be ended"):
            await engine.failed()
    await cluster.close()
