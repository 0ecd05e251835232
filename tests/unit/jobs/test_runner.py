"""From submission to final commit."""

from __future__ import annotations

from typing import Any

from tests.fakes.agents import Call, Fault
from tests.fakes.cluster import FakeCluster, instance_uuid, node_uuid

from gantry.model.entities import AdminState
from gantry.model.jobs import JobStatus
from gantry.model.orders import HooksRun, OsCreate

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


async def test_a_failed_installation_is_kept_for_a_look_where_that_was_asked_for(
    cluster: FakeCluster,
) -> None:
    def fails(call: Call) -> Fault | None:
        return Fault.FAILS if isinstance(call.order, OsCreate) else None

    cluster.agents.fault = fails
    job = await cluster.run(
        {
            "OP_ID": "OP_INSTANCE_CREATE",
            "instance_name": "new1.example.com",
            "os_type": "noop",
            "disk_template": "file",
            "disks": [{"size": 64}],
            "pnode": "node2",
            "keep_failed": True,
        }
    )
    assert (job.status, job.ops[0].status) == (JobStatus.ERROR, JobStatus.ERROR)
    assert job.ops[0].error is not None
    kept = cluster.engine.snapshot().instance("new1")
    assert kept.admin_state is AdminState.DOWN
    assert kept.tags == ("gantry:install-failed",)
    node = cluster.world.nodes[node_uuid(2)]
    assert set(node.disks) == {disk.path for disk in kept.disks}
    assert not [guest for guest in node.live if guest.up]
    await cluster.engine.settle()
    assert await cluster.keys("journal/") == []
    assert cluster.engine.idle


def restarted(cluster: FakeCluster, seconds: int) -> list[str]:
    """The agent of node 1 is being restarted when the job's first order comes, for so long. The
    keys of the orders that were given to it.
    """
    keys: list[str] = []

    def fault(call: Call) -> Fault | None:
        if call.node.uuid != node_uuid(1) or call.envelope.key.startswith("ssconf/"):
            return None
        keys.append(call.envelope.key)
        return Fault.STOPPING if len(keys) <= seconds else None

    cluster.agents.fault = fault
    return keys


async def test_an_agent_that_is_restarted_is_asked_until_it_is_back(cluster: FakeCluster) -> None:
    keys = restarted(cluster, 13)
    job = await cluster.run(START)
    assert job.status is JobStatus.SUCCESS, job.ops[0].error
    assert "hooks-pre" in keys[0]
    assert keys[:14] == keys[:1] * 14, "it is one order, under one key"
    assert keys[14] != keys[0]
