"""What agents remember of a job is forgotten when it has ended, wherever it did something."""

from __future__ import annotations

import pytest
from tests.fakes.cluster import FakeCluster, instance, node_uuid

from gantry.model.jobs import JobStatus

MODIFY = {"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": "web1.example.com"}


@pytest.mark.parametrize("status", [0, 1])
@pytest.mark.parametrize("phase", ["pre", "post", "fail"])
async def test_scripts_are_forgotten_on_nodes_where_nothing_else_was_done(
    phase: str, status: int
) -> None:
    cluster = await FakeCluster.make([instance(1, node=2)])
    await cluster.start()
    master, other = (cluster.world.nodes[node_uuid(number)] for number in (1, 2))
    for node in (master, other):
        node.add_hook(f"instance-modify-{phase}.d", "10-site", exit_status=status)
    if phase == "fail":
        other.add_hook("instance-modify-pre.d", "10-denies", exit_status=1)
    job = await cluster.run({**MODIFY, "beparams": {"vcpus": 3}})
    denied = phase == "fail" or (phase == "pre" and status)
    assert job.status is (JobStatus.ERROR if denied else JobStatus.SUCCESS)
    await cluster.engine.settle()
    assert master.hook_runs, "something ran that could be remembered"
    assert not cluster.agents.remembered
    await cluster.close()
