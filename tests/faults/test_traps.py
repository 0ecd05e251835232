"""The traps that a prototype of this engine met, each with what would fall into it."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.agents import Call, Fault
from tests.fakes.cluster import FakeCluster, instance, node_uuid
from tests.faults.breaking import BreakingStore, next_master

from gantry.jobs.archive import BATCH
from gantry.jobs.phases import TURNS
from gantry.model.errors import Unavailable
from gantry.model.jobs import JobStatus, Submission
from gantry.model.orders import DiskCreate, DiskRemove, GuestStart, HooksRun, OsCreate
from gantry.ports.store import Put
from gantry.store.sqlite import open_sqlite

DUMMY: dict[str, Any] = {"OP_ID": "OP_TEST_DUMMY"}
ADD: dict[str, Any] = {
    "OP_ID": "OP_INSTANCE_CREATE",
    "instance_name": "new.example.com",
    "os_type": "noop",
    "disk_template": "file",
    "disks": ({"size": 128}, {"size": 64}),
    "pnode": "node2",
}


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    made = await FakeCluster.make([instance(1), instance(2, node=2)], store=BreakingStore())
    await made.start()
    await made.engine.settle()
    yield made
    await made.close()


def fail_at(kind: type[Any], fault: Fault, cluster: FakeCluster) -> None:
    def decide(call: Call) -> Fault | None:
        return fault if isinstance(call.order, kind) else None

    cluster.agents.fault = decide


async def test_1_a_crash_while_undoing_does_not_run_the_job_forward_again(
    cluster: FakeCluster,
) -> None:
    before = cluster.world.state()

    def decide(call: Call) -> Fault | None:
        if isinstance(call.order, GuestStart):
            return Fault.FAILS
        return Fault.CRASH_AFTER if isinstance(call.order, DiskRemove) else None

    cluster.agents.fault = decide
    job = await cluster.submit(ADD)
    await cluster.agents.crashed.wait()
    await next_master(cluster)
    ended = await cluster.engine.wait(job)
    await cluster.engine.settle()
    assert ended.status is JobStatus.ERROR
    assert cluster.world.state() == before
    starts = [call for call in cluster.agents.calls if isinstance(call.order, GuestStart)]
    assert len(starts) == 1


async def test_2_an_effect_in_doubt_is_undone_before_a_cancel_is_honoured(
    cluster: FakeCluster,
) -> None:
    before = cluster.world.state()
    fail_at(DiskCreate, Fault.CRASH_AFTER, cluster)
    job = await cluster.submit(ADD)
    await cluster.agents.crashed.wait()
    await cluster.engine.cancel(job, kill=True)
    await next_master(cluster)
    ended = await cluster.engine.wait(job)
    await cluster.engine.settle()
    assert ended.status is JobStatus.CANCELED
    assert cluster.world.state() == before


async def test_3_effects_are_issued_again_under_the_same_key(cluster: FakeCluster) -> None:
    fail_at(OsCreate, Fault.CRASH_AFTER, cluster)
    job = await cluster.submit(ADD)
    await cluster.agents.crashed.wait()
    await next_master(cluster)
    assert (await cluster.engine.wait(job)).status is JobStatus.SUCCESS
    keys = [call.envelope.key for call in cluster.agents.calls if isinstance(call.order, OsCreate)]
    assert len(keys) == 2
    assert len(set(keys)) == 1
    # What had its result recorded is not asked for again.
    disks = [call for call in cluster.agents.calls if isinstance(call.order, DiskCreate)]
    assert len(disks) == 2


async def test_4_keys_are_random_so_that_a_fresh_store_meets_no_old_answers(
    cluster: FakeCluster,
) -> None:
    op = {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"}
    job = await cluster.run(op)
    fresh = await FakeCluster.make([instance(1)])
    fresh.clock.random_bytes(1)
    await fresh.start()
    await fresh.engine.settle()
    fresh.agents.calls.clear()
    again = await fresh.run(op)
    assert (job.id, again.id) == (1, 1)
    assert job.uid != again.uid
    key = next(call.envelope.key for call in fresh.agents.calls)
    assert key.startswith(f"{again.uid}/")
    await fresh.close()


async def test_5_a_lost_acknowledgement_does_not_make_two_jobs(cluster: FakeCluster) -> None:
    store = cluster.store
    assert isinstance(store, BreakingStore)
    store.at, store.applied = store.seen, True
    submission = Submission(ops=(DUMMY,), request_id="mine")
    lost = asyncio.create_task(cluster.engine.submit(submission))
    await store.crashed.wait()
    await next_master(cluster)
    with pytest.raises(Unavailable):
        await lost
    again = await cluster.engine.submit(submission)
    assert [job.id for job in cluster.engine.jobs()] == [again]


async def test_6_an_unexpected_exception_ends_the_job_and_is_logged(
    cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    def decide(call: Call) -> Fault | None:
        if isinstance(call.order, GuestStart):
            raise ZeroDivisionError
        return None

    before = cluster.world.state()
    cluster.agents.fault = decide
    with caplog.at_level(logging.ERROR):
        job = await cluster.run(ADD)
    await cluster.engine.settle()
    assert job.status is JobStatus.ERROR
    assert job.ops[0].error is not None
    assert "fault in Gantry" in job.ops[0].error.message
    assert "ZeroDivisionError" in caplog.text
    assert cluster.world.state() == before


async def test_7_the_store_commits_while_the_event_loop_is_always_busy(tmp_path: Path) -> None:
    # Under the default switch interval the writer's thread gets the interpreter too seldom.
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)
    made = await FakeCluster.make(store=await open_sqlite(tmp_path / "state"))
    await made.start()
    busy = True

    async def spin() -> None:
        while busy:
            sum(range(50_000))
            await asyncio.sleep(0)

    spinning = asyncio.create_task(spin())
    try:
        async with asyncio.timeout(100):
            for _ in range(20):
                await made.run(DUMMY)
    finally:
        busy = False
        await spinning
        sys.setswitchinterval(before)
        await made.close()


async def test_8_a_plan_is_stored_and_not_made_again(cluster: FakeCluster) -> None:
    fail_at(GuestStart, Fault.CRASH_BEFORE, cluster)
    job = await cluster.submit({**ADD, "nics": ({},)})
    await cluster.agents.crashed.wait()
    [crashed] = [call for call in cluster.agents.calls if isinstance(call.order, GuestStart)]
    cluster.clock.uuid()
    await next_master(cluster)
    assert (await cluster.engine.wait(job)).status is JobStatus.SUCCESS
    [_, again] = [call for call in cluster.agents.calls if isinstance(call.order, GuestStart)]
    assert again.order == crashed.order
    made = cluster.engine.snapshot().instance("new")
    assert made.nics[0].mac == again.order.spec.nics[0].mac  # type: ignore[attr-defined]


async def test_9_a_cancel_and_the_final_commit_do_not_both_win(cluster: FakeCluster) -> None:
    outcomes = set()
    for yields in range(12):
        job = await cluster.submit({"OP_ID": "OP_TEST_DELAY", "duration": 0})
        for _ in range(yields):
            await asyncio.sleep(0)
        said = await asyncio.gather(cluster.engine.cancel(job, kill=True), return_exceptions=True)
        ended = await cluster.engine.wait(job)
        assert isinstance(said[0], str) == (ended.status is JobStatus.CANCELED)
        outcomes.add(ended.status)
    assert outcomes == {JobStatus.CANCELED, JobStatus.SUCCESS}


async def test_10_one_refused_commit_does_not_take_others_of_its_group_along(
    tmp_path: Path,
) -> None:
    store = await open_sqlite(tmp_path / "state")
    made = await FakeCluster.make(store=store)
    await made.start()
    jobs = [asyncio.create_task(made.run(DUMMY)) for _ in range(BATCH)]
    # Larger than a value may be: refused by the store within the same group.
    large = asyncio.create_task(made.run({**DUMMY, "messages": ("x" * 400_000,) * 2}))
    ended = await asyncio.gather(*jobs)
    assert {job.status for job in ended} == {JobStatus.SUCCESS}
    refused = (await asyncio.gather(large, return_exceptions=True))[0]
    assert isinstance(refused, Exception)
    await made.close()


async def test_11_a_hundred_jobs_at_once_all_end(cluster: FakeCluster) -> None:
    jobs = await asyncio.gather(*(cluster.run(DUMMY) for _ in range(100)))
    assert {job.status for job in jobs} == {JobStatus.SUCCESS}
    await cluster.engine.settle()
    assert cluster.engine.idle


async def test_a_master_that_was_replaced_writes_nothing_more(cluster: FakeCluster) -> None:
    old = cluster.engine
    await cluster.store.txn([], [Put("election", b'{"epoch":9,"node":"n","since":0,"v":1}')])
    with pytest.raises(Unavailable):
        await old.submit(cluster.submission(DUMMY))
    with pytest.raises(Unavailable, match="master no more"):
        await old.failed()
    assert await cluster.keys("jobs/") == []


async def test_a_job_that_lost_its_secrets_unwinds_and_says_submit_again(
    cluster: FakeCluster,
) -> None:
    before = cluster.world.state()
    fail_at(DiskCreate, Fault.CRASH_AFTER, cluster)
    job = await cluster.submit(ADD, secrets=({"password": "hunter2"},))
    await cluster.agents.crashed.wait()
    for item in (await cluster.store.range("")).items:
        assert b"hunter2" not in item.value
    await next_master(cluster)
    ended = await cluster.engine.wait(job)
    await cluster.engine.settle()
    assert ended.ops[0].error is not None
    assert "submit the job again" in ended.ops[0].error.hint
    assert cluster.world.state() == before


async def test_scripts_run_again_after_a_crash_with_the_same_environment(
    cluster: FakeCluster,
) -> None:
    fail_at(HooksRun, Fault.CRASH_AFTER, cluster)
    job = await cluster.submit({"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web2"})
    await cluster.agents.crashed.wait()
    first = cluster.world.nodes[node_uuid(1)].hook_runs[0]
    await next_master(cluster)
    assert (await cluster.engine.wait(job)).status is JobStatus.SUCCESS
    second = cluster.world.nodes[node_uuid(1)].hook_runs[1]
    assert second.environments == first.environments
    assert second.run_id == first.run_id
    assert 1 == first.attempt < second.attempt


async def test_no_two_repeats_are_the_same_attempt_whoever_dies(cluster: FakeCluster) -> None:
    """The agent in each turn but the last, and the master in that one; twice."""
    node = cluster.world.nodes[node_uuid(1)]

    def decide(call: Call) -> Fault | None:
        if not isinstance(call.order, HooksRun) or call.node is not node:
            return None
        last = (len(node.hook_runs) + 1) % TURNS == 0
        return Fault.CRASH_AFTER if last else Fault.RESTARTED

    cluster.agents.fault = decide
    job = await cluster.submit({"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web2"})
    for _ in range(2):
        await cluster.agents.crashed.wait()
        await cluster.crash()
        cluster.agents.crashed.clear()
        await cluster.start()
    await cluster.agents.crashed.wait()
    attempts = [run.attempt for run in node.hook_runs]
    assert attempts == list(range(1, 3 * TURNS + 1))
    await next_master(cluster)
    assert (await cluster.engine.wait(job)).status is JobStatus.SUCCESS
    assert len({run.run_id for run in node.hook_runs}) == 1


async def test_a_script_that_denies_leaves_everything_as_it_was(cluster: FakeCluster) -> None:
    before = cluster.world.state()
    node = cluster.world.nodes[node_uuid(1)]
    node.add_hook("instance-start-pre.d", "00-no", exit_status=1, output="not today")
    job = await cluster.run({"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"})
    assert job.status is JobStatus.ERROR
    assert job.ops[0].error is not None
    assert job.ops[0].error.code == "hooks-denied"
    assert "not today" in job.ops[0].error.message
    assert cluster.world.state() == before
    await cluster.engine.settle()
    assert await cluster.keys("journal/") == []


async def test_a_denied_job_does_not_say_that_it_began(cluster: FakeCluster) -> None:
    """What ``run`` logs before its first effect would be a lie if a pre script denies."""
    node = cluster.world.nodes[node_uuid(1)]
    node.add_hook("instance-start-pre.d", "00-no", exit_status=1, output="not today")
    job = await cluster.run({"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"})
    texts = [entry.text for entry in await cluster.engine.log(job.id)]
    assert any("not today" in text for text in texts)
    assert not [text for text in texts if text.startswith("starting instance")]


async def test_a_node_that_is_there_and_does_not_run_its_scripts_denies(
    cluster: FakeCluster,
) -> None:
    """Only a node that is away is passed over."""
    fail_at(HooksRun, Fault.FAILS, cluster)
    job = await cluster.run({"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"})
    assert job.ops[0].error is not None
    assert job.ops[0].error.code == "hooks-denied"
    assert "not run" in job.ops[0].error.message


async def test_a_node_that_is_away_does_not_deny(cluster: FakeCluster) -> None:
    cluster.agents.fault = lambda call: (
        Fault.UNREACHABLE if isinstance(call.order, HooksRun) else None
    )
    job = await cluster.run({"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"})
    assert job.status is JobStatus.SUCCESS
    log = [entry.text for entry in await cluster.engine.log(job.id)]
    assert any("does not count as a denial" in text for text in log)
