"""A job in memory: who waits for its end, and what is kept afterwards."""

from __future__ import annotations

import asyncio

import msgspec
from tests.fakes.cluster import FakeCluster, instance

from gantry.jobs.entry import Entry
from gantry.model.jobs import Job, JobStatus, OpRecord, Submission
from gantry.model.names import JobId

DUMMY = {"OP_ID": "OP_TEST_DUMMY"}


def entry() -> Entry:
    return Entry(Job(id=JobId(1), uid="u", ops=(OpRecord(input=DUMMY),)))


async def test_all_who_wait_go_on_at_the_end() -> None:
    made = entry()
    waiting = [asyncio.create_task(made.over()) for _ in range(3)]
    await asyncio.sleep(0)
    made.show(msgspec.structs.replace(made.job, status=JobStatus.RUNNING))
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    made.show(msgspec.structs.replace(made.job, status=JobStatus.SUCCESS))
    await asyncio.gather(*waiting)
    await made.over()


async def test_nothing_is_kept_of_an_ended_job_that_only_one_under_way_needs() -> None:
    cluster = await FakeCluster.make([instance(1)])
    engine = await cluster.start()
    submission = Submission(ops=(DUMMY,), request_id="r" * 16, secrets=({"password": "geheim"},))
    number = await engine.submit(submission)
    await engine.wait(number)
    await engine.settle()
    ended = engine._entries[number]
    assert ended.job.status is JobStatus.SUCCESS
    assert (ended.secrets, ended.acknowledged, ended.log, ended.task) == ((), None, None, None)
    assert not ended.orders
    assert not ended.touched
    assert await engine.submit(submission) == number, "the same request is the same job"
    await cluster.close()
