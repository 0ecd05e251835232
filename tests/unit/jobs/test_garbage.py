"""What a job leaves is gone with it: Python looks for circles of garbage rarely in a master."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from tests.fakes.agents import Fault
from tests.fakes.cluster import FakeCluster, instance, node_uuid

from gantry.jobs.attempt import Attempt
from gantry.jobs.steps import JournaledSteps
from gantry.model.jobs import JobStatus
from gantry.model.orders import GuestStart


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def added(name: str) -> dict[str, object]:
    return {
        "OP_ID": "OP_INSTANCE_CREATE",
        "instance_name": name,
        "mode": "create",
        "disk_template": "diskless",
        "os_type": "noop",
        "hypervisor": "fake",
    }


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("how", ["fine", "denied", "broken", "refused"])
async def test_nothing_of_an_operation_outlives_it(how: str) -> None:
    cluster = await FakeCluster.make([instance(1)])
    await cluster.start()
    name = "web1.example.com" if how == "refused" else "web2.example.com"
    if how == "denied":
        cluster.world.nodes[node_uuid(1)].add_hook("instance-add-pre.d", "10-no", exit_status=1)
    if how == "broken":
        # Starting the guest fails, and then it is undone.
        cluster.agents.fault = lambda call: (
            Fault.FAILS if isinstance(call.order, GuestStart) else None
        )
    job = await cluster.run(added(name))
    assert (job.status is JobStatus.SUCCESS) == (how == "fine")
    await cluster.engine.settle()
    left = [one for one in gc.get_objects() if isinstance(one, Attempt | JournaledSteps)]
    assert not left
    await cluster.close()
