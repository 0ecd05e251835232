"""What becomes of a copy when a node goes on with it."""

from __future__ import annotations

from tests.fakes.cluster import FakeCluster, instance, node_uuid

from gantry.jobs import from_copy
from gantry.jobs.election import LEAP
from gantry.jobs.recovery import read_snapshot
from gantry.model.entities import AdminState
from gantry.model.jobs import JobStatus


async def half_done() -> FakeCluster:
    """A job waits for a node, one has ended; an order is owed."""
    cluster = await FakeCluster.make([instance(1, admin_state=AdminState.UP)])
    engine = await cluster.start()
    await cluster.run({"OP_ID": "OP_TEST_DELAY", "duration": 0, "on_nodes": ("node2",)})
    await cluster.submit({"OP_ID": "OP_TEST_DELAY", "duration": 60, "on_nodes": ("node3",)})
    await engine.settle()
    await cluster.crash()
    return cluster


async def test_jobs_that_had_not_ended_are_failed_and_nothing_is_owed() -> None:
    cluster = await half_done()
    known = await from_copy.known(cluster.store)
    assert (known.job, known.unfinished) == (2, (2,))
    before = await read_snapshot(cluster.store)
    await from_copy.take_over(
        cluster.store, before, node_uuid(2), epoch=known.epoch + LEAP, job=17, now=5.0
    )
    assert await cluster.keys("journal/", "debris/") == []
    calls = len(cluster.agents.calls)
    engine = await cluster.start()
    assert [job.status for job in engine.jobs()] == [JobStatus.SUCCESS, JobStatus.ERROR]
    error = engine.jobs()[1].ops[0].error
    assert error is not None
    assert "copy" in error.message
    await engine.settle()
    orders = [call for call in cluster.agents.calls[calls:] if "ssconf" not in call.envelope.key]
    assert orders == [], "nothing of the old jobs is done again"
    await cluster.close()


async def test_the_new_master_is_above_all_that_were_and_numbers_no_job_twice() -> None:
    cluster = await half_done()
    before = await read_snapshot(cluster.store)
    await from_copy.take_over(cluster.store, before, node_uuid(2), epoch=LEAP + 7, job=17, now=5.0)
    after = (await read_snapshot(cluster.store)).cluster
    assert (after.master_node, after.failed_over_from) == (node_uuid(2), node_uuid(1))
    engine = await cluster.start()
    assert cluster.mastership is not None
    assert cluster.mastership.epoch > LEAP + 7
    number = await cluster.submit({"OP_ID": "OP_TEST_DELAY", "duration": 0})
    assert number == 18
    await engine.wait(number)
    await cluster.close()
