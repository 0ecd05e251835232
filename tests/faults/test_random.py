"""Jobs in parallel, masters that come and go, from seeds: nothing accepted is ever lost."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from tests.fakes.agents import Call, Fault
from tests.fakes.cluster import FakeCluster, instance
from tests.faults.breaking import BreakingStore, nothing_left

from gantry.model.entities import AdminState
from gantry.model.errors import GantryError
from gantry.model.jobs import JobStatus, Submission


def _operation(chance: random.Random, number: int) -> dict[str, Any]:
    name = f"web{chance.randint(1, 4)}"
    return chance.choice(
        [
            {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": name},
            {"OP_ID": "OP_INSTANCE_SHUTDOWN", "instance_name": name},
            {"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": name},
            {
                "OP_ID": "OP_INSTANCE_CREATE",
                "instance_name": f"new{number}.example.com",
                "os_type": "noop",
                "disk_template": "file",
                "disks": ({"size": 64},),
                "pnode": f"node{chance.randint(1, 3)}",
            },
            {"OP_ID": "OP_TEST_DELAY", "duration": 0, "on_nodes": ("node2",)},
            {"OP_ID": "OP_TEST_DUMMY"},
        ]
    )


async def _submit(cluster: FakeCluster, submission: Submission, accepted: set[str]) -> None:
    """As a client does: the same request again until it is answered."""
    while submission.request_id not in accepted:
        try:
            await cluster.engine.submit(submission)
            accepted.add(submission.request_id)
        except GantryError:
            await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(25))
async def test_every_job_ends_and_the_world_agrees_with_the_configuration(seed: int) -> None:
    chance = random.Random(seed)
    store = BreakingStore()
    cluster = await FakeCluster.make(
        [instance(number, node=number % 3 + 1) for number in range(1, 5)], store=store
    )
    await cluster.start()
    faults = (Fault.FAILS, Fault.FAILS_AFTER, Fault.ANSWER_LOST, None, None, None, None, None)

    def decide(call: Call) -> Fault | None:
        return chance.choice(faults) if "/debris/" not in call.envelope.key else None

    cluster.agents.fault = decide
    accepted: set[str] = set()
    clients = [
        asyncio.create_task(
            _submit(
                cluster,
                Submission(ops=(_operation(chance, number),), request_id=f"r{number}"),
                accepted,
            )
        )
        for number in range(20)
    ]
    for _ in range(4):
        for _ in range(chance.randint(1, 60)):
            await asyncio.sleep(0)
        await cluster.crash()
        await cluster.start()
    async with asyncio.timeout(100):
        await asyncio.gather(*clients)
        cluster.agents.fault = lambda call: None
        jobs = [await cluster.engine.wait(job.id) for job in cluster.engine.jobs()]
        await cluster.engine.settle()
    await cluster.crash()
    await cluster.start()
    await cluster.engine.settle()
    assert sorted(job.request_id for job in jobs) == sorted(accepted)
    assert {job.status for job in jobs} <= {JobStatus.SUCCESS, JobStatus.ERROR}
    await nothing_left(cluster)
    _agrees(cluster)
    await cluster.close()


def _agrees(cluster: FakeCluster) -> None:
    """Guests run where the configuration says so, and there are no disks but theirs."""
    snapshot = cluster.engine.snapshot()
    for node in cluster.world.nodes.values():
        mine = snapshot.instances_of(node.uuid)
        up = {one.uuid for one in mine if one.admin_state is AdminState.UP}
        assert {guest.uuid for guest in node.live if guest.up} == up
        paths = {disk.path for one in mine for disk in one.disks}
        assert set(node.disks) == paths
