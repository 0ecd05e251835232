"""What clients ask of the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import pytest
from tests.fakes.agents import FakeAgents
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster, node_uuid
from tests.fakes.world import World

from gantry.jobs import codec, queue
from gantry.model.errors import Rejected, Unavailable
from gantry.model.jobs import Dependency, DryRun, JobStatus, LogEntry, Submission
from gantry.model.names import JobId
from gantry.model.orders import Delay, HooksRun, Order, Question
from gantry.ports.agents import Address, Envelope, Progress
from gantry.ports.store import Delete

A = TypeVar("A", bound=msgspec.Struct)
DUMMY: dict[str, Any] = {"OP_ID": "OP_TEST_DUMMY"}
START: dict[str, Any] = {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"}


def delay(node: str = "node2", duration: float = 3600) -> dict[str, Any]:
    return {
        "OP_ID": "OP_TEST_DELAY",
        "duration": duration,
        "on_master": False,
        "on_nodes": [node],
    }


async def began(cluster: FakeCluster) -> None:
    """Until an agent was asked for something."""
    while not any(isinstance(call.order, Delay) for call in cluster.agents.calls):  # noqa: ASYNC110
        await asyncio.sleep(0)


async def test_a_repeated_request_is_the_same_job_also_after_a_crash(cluster: FakeCluster) -> None:
    submission = Submission(ops=(DUMMY,), request_id="mine")
    first = await cluster.engine.submit(submission)
    await cluster.engine.wait(first)
    assert await cluster.engine.submit(submission) == first
    await cluster.engine.settle()
    await cluster.crash()
    await cluster.start()
    assert await cluster.engine.submit(submission) == first
    assert len(cluster.engine.jobs()) == 1


async def test_numbers_are_never_given_twice(cluster: FakeCluster) -> None:
    job = await cluster.run(DUMMY)
    await cluster.engine.settle()
    assert await cluster.engine.archive([job.id]) == [job.id]
    assert await cluster.keys("jobs/", "joblog/") == []
    await cluster.crash()
    await cluster.start()
    assert await cluster.submit(DUMMY) == job.id + 1


async def test_numbers_of_jobs_that_only_agents_know_are_not_given_again(
    cluster: FakeCluster,
) -> None:
    start = {"OP_ID": "OP_TEST_DELAY", "duration": 0, "on_nodes": ("node2",)}
    jobs = [await cluster.run(start) for _ in range(3)]
    await cluster.engine.settle()
    await cluster.crash()
    # As after an older copy of the state was brought back.
    gone = await cluster.keys("jobs/", "joblog/", "serial/")
    await cluster.store.txn([], [Delete(key) for key in gone])
    await cluster.start()
    assert cluster.engine.jobs() == []
    assert await cluster.submit(DUMMY) == jobs[-1].id + 1


async def test_an_archived_job_can_be_read_with_its_log(cluster: FakeCluster) -> None:
    job = await cluster.run({**DUMMY, "messages": ["one", "two"]})
    await cluster.engine.settle()
    await cluster.engine.archive([job.id])
    found = await cluster.engine.get(job.id)
    assert (found.archived, found.status) == (True, JobStatus.SUCCESS)
    assert [line.text for line in await cluster.engine.log(job.id)] == ["one", "two"]
    assert [one.id for one in await cluster.engine.archived()] == [job.id]
    assert cluster.engine.jobs() == []


async def test_only_what_ended_long_ago_is_archived_by_age(cluster: FakeCluster) -> None:
    await cluster.run(DUMMY)
    cluster.clock.advance(100)
    recent = await cluster.run(DUMMY)
    await cluster.engine.settle()
    assert await cluster.engine.auto_archive(50) == 1
    assert [job.id for job in cluster.engine.jobs()] == [recent.id]


async def test_a_waiting_job_says_what_it_waits_for(cluster: FakeCluster) -> None:
    first = await cluster.submit(delay())
    second = await cluster.submit(delay())
    job = await cluster.engine.get(second)
    assert job.status is JobStatus.WAITING
    assert job.waiting_for == (f"node node2.example.com (job {first})",)


async def test_a_waiting_job_is_cancelled_at_once_and_leaves_nothing(cluster: FakeCluster) -> None:
    first = await cluster.submit(delay())
    second = await cluster.submit(delay())
    assert "had not begun" in await cluster.engine.cancel(second)
    assert (await cluster.engine.wait(second)).status is JobStatus.CANCELED
    await cluster.engine.cancel(first, kill=True)
    assert (await cluster.engine.wait(first)).status is JobStatus.CANCELED
    await cluster.engine.settle()
    assert cluster.engine.idle
    assert await cluster.keys("journal/") == []


async def test_a_job_that_is_cancelled_between_two_operations_leaves_its_log_and_nothing_else(
    cluster: FakeCluster,
) -> None:
    first = await cluster.submit(delay("node2"))
    await began(cluster)
    said = {**DUMMY, "messages": ["one"]}
    second = await cluster.submit(said, delay("node3", 0), delay("node2", 0))
    async with asyncio.timeout(100):
        while not (found := await cluster.engine.get(second)).ops[1].status.ended:  # noqa: ASYNC110
            await asyncio.sleep(0)
        while not found.waiting_for:
            await asyncio.sleep(0)
            found = await cluster.engine.get(second)
    assert "had not begun" in await cluster.engine.cancel(second)
    await cluster.engine.cancel(first, kill=True)
    await cluster.engine.settle()
    assert not cluster.agents.remembered
    await cluster.engine.archive([second])
    assert "one" in [line.text for line in await cluster.engine.log(second)]


async def test_a_running_job_is_only_ended_with_kill(cluster: FakeCluster) -> None:
    job = await cluster.submit(delay())
    with pytest.raises(Rejected, match="is running"):
        await cluster.engine.cancel(job)
    await cluster.engine.cancel(job, kill=True)
    ended = await cluster.engine.wait(job)
    assert ended.status is JobStatus.CANCELED


async def test_a_cancel_after_the_final_commit_is_too_late(cluster: FakeCluster) -> None:
    # Trap 9: whoever is second finds the job's record changed.
    job = await cluster.run(DUMMY)
    with pytest.raises(Rejected, match="ended already"):
        await cluster.engine.cancel(job.id, kill=True)
    assert (await cluster.engine.get(job.id)).status is JobStatus.SUCCESS


async def test_a_job_waits_for_those_that_it_depends_on(cluster: FakeCluster) -> None:
    first = await cluster.submit(delay())
    second = await cluster.submit(DUMMY, depends=(Dependency(job=first),))
    assert (await cluster.engine.get(second)).waiting_for == (f"job {first}",)
    await cluster.engine.cancel(first, kill=True)
    assert (await cluster.engine.wait(second)).status is JobStatus.SUCCESS


async def test_a_dependency_that_ended_otherwise_ends_the_job(cluster: FakeCluster) -> None:
    first = await cluster.run({**DUMMY, "fail": True})
    job = await cluster.run(
        DUMMY, depends=(Dependency(job=first.id, statuses=(JobStatus.SUCCESS,)),)
    )
    assert job.status is JobStatus.ERROR
    assert job.ops[0].error is not None
    assert "depends on" in job.ops[0].error.message


async def test_a_command_in_a_hook_that_needs_the_jobs_lock_is_refused(
    cluster: FakeCluster,
) -> None:
    parent = await cluster.submit(delay())
    with pytest.raises(Rejected, match=rf"runs in a hook of job {parent}, which holds the lock"):
        await cluster.submit(delay(), within_job=parent)
    other = await cluster.submit(delay("node3", 0), within_job=parent)
    assert (await cluster.engine.wait(other)).status is JobStatus.SUCCESS


async def test_hooks_that_would_wait_for_each_other_are_refused(cluster: FakeCluster) -> None:
    first = await cluster.submit(delay("node2"))
    second = await cluster.submit(delay("node3"))
    waiting = await cluster.submit(delay("node3"), within_job=first)
    assert (await cluster.engine.get(waiting)).status is JobStatus.WAITING
    with pytest.raises(Rejected, match="which holds the lock"):
        await cluster.submit(delay("node2"), within_job=second)


async def test_following_a_job_gives_every_line_once_and_every_status(
    cluster: FakeCluster,
) -> None:
    job = await cluster.submit(START)
    lines: list[LogEntry] = []
    statuses: list[JobStatus] = []
    async for change in cluster.engine.follow(job):
        lines += change.entries
        statuses += [change.job.status] if change.job else []
    assert statuses[-1] is JobStatus.SUCCESS
    assert len(statuses) == len(set(statuses))
    assert [line.serial for line in lines] == list(range(1, len(lines) + 1))
    assert any("starting" in line.text for line in lines)
    await cluster.engine.settle()
    again = [line async for change in cluster.engine.follow(job, 1) for line in change.entries]
    assert again == lines[1:]


async def test_the_operations_of_a_job_run_one_after_the_other(cluster: FakeCluster) -> None:
    job = await cluster.run(START, {**DUMMY, "result": 2}, {**DUMMY, "fail": True}, DUMMY)
    assert [op.status for op in job.ops] == [
        JobStatus.SUCCESS,
        JobStatus.SUCCESS,
        JobStatus.ERROR,
        JobStatus.ERROR,
    ]
    await cluster.engine.settle()
    assert await cluster.keys("journal/") == []


async def test_a_priority_moves_a_waiting_job_forward(cluster: FakeCluster) -> None:
    first = await cluster.submit(delay())
    second = await cluster.submit(delay())
    third = await cluster.submit(delay(duration=0))
    await cluster.engine.change_priority(third, -10)
    await cluster.engine.cancel(first, kill=True)
    assert (await cluster.engine.wait(third)).status is JobStatus.SUCCESS
    await cluster.engine.cancel(second, kill=True)


@pytest.mark.parametrize(
    ("op", "text"),
    [
        ({"OP_ID": "OP_NOTHING"}, "no operation"),
        ({"OP_ID": "OP_TEST_DUMMY", "colour": 1}, "colour"),
        ({}, "needs an OP_ID"),
    ],
)
async def test_what_is_no_operation_is_refused_and_nothing_is_kept(
    cluster: FakeCluster, op: dict[str, Any], text: str
) -> None:
    with pytest.raises(Rejected, match=text):
        await cluster.submit(op)
    assert await cluster.keys("jobs/") == []


async def test_a_dry_run_does_nothing_and_says_what_it_would(cluster: FakeCluster) -> None:
    before = cluster.world.state()
    cluster.agents.calls.clear()
    job = await cluster.run(START, dry_run=DryRun.YES)
    assert job.status is JobStatus.SUCCESS
    assert job.ops[0].result["effects"][0]["step"] == "start-guest"
    said = [entry.text for entry in await cluster.engine.log(job.id)]
    assert "would do on node1.example.com: guest-start (start-guest)" in said
    assert cluster.agents.calls == []
    assert cluster.world.state() == before


async def test_a_dry_run_with_hooks_runs_the_pre_scripts_who_are_told(
    cluster: FakeCluster,
) -> None:
    await cluster.run(START, dry_run=DryRun.HOOKS)
    runs = [run for node in cluster.world.nodes.values() for run in node.hook_runs]
    assert runs
    assert all(run.dry_run for run in runs)
    assert all("-pre.d" in each.name for run in runs for each in run.directories)


async def test_a_full_name_taken_by_a_running_job_is_refused(cluster: FakeCluster) -> None:
    add = {
        "OP_ID": "OP_INSTANCE_CREATE",
        "instance_name": "new.example.com",
        "os_type": "noop",
        "disk_template": "diskless",
        "pnode": "node2",
    }
    jobs = await asyncio.gather(cluster.run(add), cluster.run({**add, "pnode": "node3"}))
    assert sorted(job.status for job in jobs) == [JobStatus.ERROR, JobStatus.SUCCESS]


async def test_a_master_that_ends_in_order_closes_what_is_done(cluster: FakeCluster) -> None:
    job = await cluster.run(START)
    await cluster.engine.stop()
    assert await cluster.keys("journal/") == []
    runs = sum(len(node.hook_runs) for node in cluster.world.nodes.values())
    await cluster.start()
    assert (await cluster.engine.wait(job.id)).attempt == 1
    assert sum(len(node.hook_runs) for node in cluster.world.nodes.values()) == runs


async def test_a_master_that_ends_leaves_running_jobs_to_the_next(cluster: FakeCluster) -> None:
    job = await cluster.submit(delay(duration=0.2))
    waiter = asyncio.create_task(cluster.engine.wait(job))
    await asyncio.sleep(0)
    await cluster.engine.stop()
    with pytest.raises(Unavailable):
        await waiter
    await cluster.start()
    assert (await cluster.engine.wait(job)).status is JobStatus.SUCCESS


async def test_locks_show_who_holds_and_who_waits(cluster: FakeCluster) -> None:
    first, second = await cluster.submit(delay()), await cluster.submit(delay())
    row = {one.name: one for one in cluster.engine.locks()}[f"node/{node_uuid(2)}"]
    assert (row.mode, row.owners, row.pending) == ("exclusive", [first], [second])


async def test_more_places_for_running_jobs_are_used_at_once(cluster: FakeCluster) -> None:
    await cluster.run({"OP_ID": "OP_CLUSTER_SET_PARAMS", "max_running_jobs": 2})
    free = {**delay(), "no_locks": True}
    jobs = [await cluster.submit(free) for _ in range(3)]
    assert (await cluster.engine.get(jobs[2])).status is JobStatus.WAITING
    settings = msgspec.structs.replace(cluster.engine.snapshot().cluster, max_running_jobs=3)
    await cluster.engine.change(put=[settings])
    async with asyncio.timeout(100):
        async for change in cluster.engine.follow(jobs[2]):
            if change.job is not None and change.job.status is JobStatus.RUNNING:
                break


async def test_changes_of_the_configuration_are_told(cluster: FakeCluster) -> None:
    told: list[int] = []
    cluster.engine.on_change(lambda: told.append(cluster.engine.snapshot().revision))
    await cluster.run(DUMMY)
    assert told == []
    await cluster.run(START)
    assert told == [cluster.engine.snapshot().revision]


class SlowAgents(FakeAgents):
    """Questions are answered when ``let`` is set."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.let = asyncio.Event()

    async def ask(self, to: Address, question: Question[A], timeout: float) -> A:
        """See the port."""
        await self.let.wait()
        return await super().ask(to, question, timeout)


async def test_a_client_does_not_wait_for_nodes_that_answer_slowly(cluster: FakeCluster) -> None:
    agents = SlowAgents(cluster.world)
    await cluster.crash()
    await cluster.start(agents=agents)
    add = {
        "OP_ID": "OP_INSTANCE_CREATE",
        "instance_name": "new.example.com",
        "os_type": "noop",
        "disk_template": "diskless",
        "pnode": "node2",
    }
    first, second = await cluster.submit(add), await cluster.submit(add)
    assert (await cluster.engine.get(first)).status is JobStatus.RUNNING
    assert "had not begun" in await cluster.engine.cancel(first)
    agents.let.set()
    assert (await cluster.engine.wait(first)).status is JobStatus.CANCELED
    await cluster.engine.wait(second)
    await agents.close()


async def test_an_unknown_job_is_named(cluster: FakeCluster) -> None:
    with pytest.raises(Rejected, match="no job 77"):
        await cluster.engine.get(JobId(77))


async def test_jobs_that_were_cancelled_before_they_began_do_not_fill_the_queue(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "MAX_JOBS", 5)
    running = await cluster.submit(delay())
    for _ in range(10):
        await cluster.engine.cancel(await cluster.submit(delay()))
        # The task of the job is over a turn later.
        await asyncio.sleep(0)
    assert (await cluster.engine.get(running)).status is JobStatus.RUNNING


async def test_the_highest_archived_number_never_goes_back(cluster: FakeCluster) -> None:
    first, second = await cluster.run(DUMMY), await cluster.run(DUMMY)
    await cluster.engine.settle()
    await cluster.engine.archive([second.id])
    await cluster.crash()
    await cluster.start()
    await cluster.engine.archive([first.id])
    item = await cluster.store.get(codec.SERIAL)
    assert item is not None
    assert codec.decode(item.key, item.value, codec.Serial).highest == second.id


@pytest.mark.parametrize(
    "op",
    [
        {"OP_ID": "OP_TOKEN_CREATE", "node_name": "node4", "secret_hash": "a" * 64},
        {
            "OP_ID": "OP_NODE_JOIN",
            "secret_hash": "a" * 64,
            "node_uuid": node_uuid(4),
            "primary_ip": "127.1.0.4",
            "port": 1811,
        },
    ],
)
async def test_what_the_master_does_for_itself_is_nothing_to_ask_for(
    cluster: FakeCluster, op: dict[str, Any]
) -> None:
    with pytest.raises(Rejected, match="only the master itself"):
        await cluster.engine.submit(cluster.submission(DUMMY, op))
    assert cluster.engine.jobs() == []


class HeldScripts(FakeAgents):
    """Scripts are not run before ``gate`` is open."""

    def __init__(self, world: World, now: Callable[[], float]) -> None:
        super().__init__(world, now=now)
        self.gate = asyncio.Event()
        self.asked = asyncio.Event()

    async def order(
        self,
        to: Address,
        envelope: Envelope,
        order: Order[A],
        progress: Callable[[Progress], None] | None = None,
    ) -> A:
        if isinstance(order, HooksRun):
            self.asked.set()
            await self.gate.wait()
        return await super().order(to, envelope, order, progress)


async def test_what_was_done_in_one_commit_is_not_cancelled_while_its_last_scripts_run() -> None:
    made = await FakeCluster.make()
    clock = FakeClock()
    agents = HeldScripts(made.world, clock.monotonic)
    cluster = FakeCluster(made.store, agents, clock)
    await cluster.start()
    job = await cluster.submit({"OP_ID": "OP_CLUSTER_VERIFY"})
    async with asyncio.timeout(100):
        await agents.asked.wait()
        for kill in (False, True):
            with pytest.raises(Rejected, match="done its work"):
                await cluster.engine.cancel(job, kill=kill)
        with pytest.raises(Rejected, match="begun"):
            await cluster.engine.change_priority(job, 5)
        agents.gate.set()
        assert (await cluster.engine.wait(job)).status is JobStatus.SUCCESS
    await cluster.engine.settle()
    assert await cluster.keys("journal/") == []
    await cluster.close()
