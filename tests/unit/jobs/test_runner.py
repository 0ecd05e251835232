"""From submission to final commit."""

from __future__ import annotations

from typing import Any

from tests.fakes.agents import Call
from tests.fakes.cluster import FakeCluster, instance_uuid, node_uuid

from gantry.model.entities import AdminState
from gantry.model.jobs import JobStatus
from gantry.model.orders import HooksRun

DUMMY: dict[str, Any] = {"OP_ID": "OP_TEST_DUMMY"}
START: dict[str, Any] = {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"}


async def test_a_job_without_effects_takes_one_commit(cluster: FakeCluster) -> None:
    before = cluster.store.commits
    job = await cluster.run({**DUMMY, "result": 7, "messages": ["hello"]})
    assert (job.status, job.ops[0].result) == (JobStatus.SUCCESS, 7)
    assert [entry.text for entry in await cluster.engine.log(job.id)] == ["hello"]
    assert cluster.store.commits == before + 1


async def test_an_operation_changes_the_world_and_the_configuration(cluster: FakeCluster) -> None:
    job = await cluster.run(START)
    assert job.status is JobStatus.SUCCESS, job.ops[0].error
    assert instance_uuid(1) in cluster.world.nodes[node_uuid(1)].guests
    assert cluster.engine.snapshot().instance("web1").admin_state is AdminState.UP


async def test_a_failing_operation_ends_in_error(cluster: FakeCluster) -> None:
    job = await cluster.run({**DUMMY, "fail": True})
    assert job.status is JobStatus.ERROR
    assert job.ops[0].error is not None
    assert "as asked for" in job.ops[0].error.message


async def test_what_a_job_claims_does_not_count_twice_while_its_last_scripts_run(
    cluster: FakeCluster,
) -> None:
    claims: dict[str, int] = {}

    def look(call: Call) -> None:
        if isinstance(call.order, HooksRun):
            for directory in call.order.directories:
                claims[directory.name] = len(cluster.engine.snapshot().claims)

    cluster.agents.fault = look
    job = await cluster.run(START)
    await cluster.engine.settle()
    assert job.status is JobStatus.SUCCESS, job.ops[0].error
    assert claims["instance-start-pre.d"] == 1
    assert claims["instance-start-post.d"] == 0
