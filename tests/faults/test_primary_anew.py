"""The primary's replica is made anew by a job of several operations, and all is as before."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.fakes.agents import Call, Fault
from tests.fakes.cluster import FakeCluster
from tests.faults.breaking import make, nothing_left
from tests.faults.mirrored import (
    DOWN,
    IN_STEP,
    NODE1,
    NODE2,
    UP,
    WEB,
    disks_there,
    keeps_its_promise,
    running,
)
from tests.faults.situation import Situation
from tests.unit.operations.mirrored import DISK, IN_SYNC

from gantry.model.jobs import Job, JobStatus

OP: dict[str, Any] = {
    "OP_ID": "OP_INSTANCE_REPLACE_DISKS",
    "instance_name": "web1",
    "mode": "replace_on_primary",
}
SITUATIONS = (
    Situation(name="one that runs", op=OP, objects=(UP, IN_STEP), prepare=running),
    Situation(name="one that is down", op=OP, objects=(DOWN, IN_STEP), prepare=disks_there),
)


async def replaced(cluster: FakeCluster) -> Job:
    """The job that the operation submits, when it has ended."""
    first = await cluster.run(OP)
    assert first.status is JobStatus.SUCCESS, first.ops[0].error
    [[fine, number]] = first.ops[0].result["jobs"]
    assert fine
    async with asyncio.timeout(100):
        job = await cluster.ended(number)
    await cluster.engine.settle()
    return job


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda one: one.name)
async def test_it_is_another_file_with_what_is_in_sync_and_the_instance_is_where_it_was(
    situation: Situation,
) -> None:
    cluster = await make(situation)
    home = cluster.world.nodes[NODE1]
    old = home.disks[DISK.path]
    job = await replaced(cluster)
    assert job.status is JobStatus.SUCCESS, [op.error for op in job.ops]
    keeps_its_promise(cluster)
    after = cluster.engine.snapshot()
    instance = after.instances[WEB]
    assert (instance.primary_node, instance.secondary_nodes) == (NODE1, (NODE2,))
    assert instance.admin_state is situation.objects[0].admin_state  # type: ignore[union-attr]
    states = {one.state for one in after.mirrors[DISK.uuid].replicas.values()}
    assert states == {IN_SYNC}
    assert home.disks[DISK.path] is not old
    assert home.disks[DISK.path].content == "kept"
    assert home.is_up(WEB) == (situation.name == "one that runs")
    await nothing_left(cluster)
    await cluster.close()


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda one: one.name)
async def test_where_the_copy_fails_all_that_is_in_sync_stays_so_on_the_other_node(
    situation: Situation,
) -> None:
    cluster = await make(situation)

    def fails(call: Call) -> Fault | None:
        return Fault.FAILS if "/wait-for-copy/" in call.envelope.key else None

    cluster.agents.fault = fails
    job = await replaced(cluster)
    assert job.status is JobStatus.ERROR
    keeps_its_promise(cluster)
    after = cluster.engine.snapshot()
    assert after.instances[WEB].primary_node == NODE2
    assert after.mirrors[DISK.uuid].replicas[NODE2].state is IN_SYNC
    assert cluster.world.nodes[NODE2].disks[DISK.path].content == "kept"
    assert cluster.world.nodes[NODE2].is_up(WEB) == (situation.name == "one that runs")
    await nothing_left(cluster)
    await cluster.close()
