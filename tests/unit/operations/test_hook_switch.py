"""Which scripts are meant by ``gnt-hook disable`` and ``enable``, and where."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.fakes.cluster import FakeCluster, node_uuid

from gantry.model.jobs import Job, JobStatus
from gantry.model.live import NodeLive

ADD, START = "instance-add-pre.d", "instance-start-pre.d"
BOTH = {f"{ADD}/20-check", f"{START}/20-check"}


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    made = await FakeCluster.make()
    for number in (1, 2, 3):
        for directory in (ADD, START):
            made.world.nodes[node_uuid(number)].add_hook(directory, "20-check")
    made.world.nodes[node_uuid(2)].add_hook(ADD, "30-alone")
    await made.start()
    yield made
    await made.close()


async def switch(cluster: FakeCluster, *scripts: str, **fields: Any) -> Job:
    given = {"enabled": False, "because": "it is broken", **fields}
    job = await cluster.run({"OP_ID": "OP_HOOK_SWITCH", "scripts": scripts, **given})
    await cluster.engine.settle()
    return job


async def refused(cluster: FakeCluster, *scripts: str, **fields: Any) -> str:
    job = await switch(cluster, *scripts, **fields)
    assert job.status is JobStatus.ERROR
    assert job.ops[0].error is not None
    return f"{job.ops[0].error.message} {job.ops[0].error.hint}"


def off(cluster: FakeCluster, number: int) -> set[str]:
    words = cluster.world.nodes[node_uuid(number)].switched
    return {script for script, word in words.items() if not word.enabled}


async def test_a_name_is_meant_in_all_directories_and_on_all_nodes(cluster: FakeCluster) -> None:
    job = await switch(cluster, "20-check")
    assert job.status is JobStatus.SUCCESS
    assert set(job.ops[0].result) == BOTH
    assert [off(cluster, number) for number in (1, 2, 3)] == [BOTH] * 3
    word = cluster.world.nodes[node_uuid(1)].switched[f"{ADD}/20-check"]
    assert (word.by, word.reason) == (job.requester, "it is broken")


async def test_one_directory_and_one_node_can_be_said(cluster: FakeCluster) -> None:
    await switch(cluster, f"{ADD}/20-check", node_names=("node2",))
    assert [off(cluster, number) for number in (1, 2, 3)] == [set(), {f"{ADD}/20-check"}, set()]


async def test_it_is_on_again_after_enable(cluster: FakeCluster) -> None:
    await switch(cluster, "20-check", "30-alone")
    await switch(cluster, "20-check", enabled=True)
    assert [off(cluster, number) for number in (1, 2, 3)] == [{f"{ADD}/30-alone"}] * 3


async def test_one_that_is_off_and_gone_can_be_switched_on(cluster: FakeCluster) -> None:
    await switch(cluster, "30-alone")
    del cluster.world.nodes[node_uuid(2)].hooks[ADD]["30-alone"]
    assert (await switch(cluster, "30-alone", enabled=True)).status is JobStatus.SUCCESS
    assert off(cluster, 2) == set()


async def test_a_node_that_is_away_is_told_when_it_is_back(cluster: FakeCluster) -> None:
    node = cluster.world.nodes[node_uuid(3)]
    cluster.agents.disconnect(node)
    job = await switch(cluster, "20-check")
    assert job.status is JobStatus.SUCCESS
    assert [off(cluster, number) for number in (1, 2, 3)] == [BOTH, BOTH, set()]
    assert len(await cluster.keys("debris/")) == 1
    cluster.agents.reconnect(node)
    cluster.engine.set_live(node.uuid, NodeLive(reachable=True, facts=node.facts()))
    await cluster.engine.settle()
    assert off(cluster, 3) == BOTH
    assert await cluster.keys("debris/") == []


async def test_what_no_node_has_is_refused_with_the_nearest(cluster: FakeCluster) -> None:
    assert "did you mean 20-check?" in await refused(cluster, "20-chek")
    assert "no node that answers has a script" in await refused(cluster, "nothing-like-it")
    cluster.world.nodes[node_uuid(1)].add_hook(ADD, "check.sh")
    assert "does not run anyway" in await refused(cluster, "check.sh")
    assert "no script is named" in await refused(cluster)
    assert "at most 500" in await refused(cluster, "20-check", because="x" * 501)
    assert [off(cluster, number) for number in (1, 2, 3)] == [set()] * 3
