"""What is kept of objects when an operation is unwound and something cannot be undone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.fakes.agents import Call, Fault
from tests.fakes.cluster import FakeCluster, instance, node_uuid
from tests.fakes.world import FakeDisk

from gantry.model.entities import Disk, DiskTemplate
from gantry.model.jobs import Job, JobStatus
from gantry.model.names import Uuid
from gantry.model.orders import OsCreate
from gantry.operations.steps import specs

REINSTALL: dict[str, Any] = {"OP_ID": "OP_INSTANCE_REINSTALL", "instance_name": "web1"}
MARK = "gantry:install-failed"
WEB = instance(
    1,
    disk_template=DiskTemplate.FILE,
    disks=(
        Disk(
            uuid=Uuid("00000000-0000-4000-8000-000000000781"),
            size=64,
            template=DiskTemplate.FILE,
            path="/srv/ganeti/file-storage/web1.example.com/disk0",
        ),
    ),
)


async def reinstalled(meet: Any, **hooks: Any) -> tuple[Job, tuple[str, ...]]:
    """The job when ``meet`` sees the script's order, and the instance's tags afterwards."""
    cluster = await FakeCluster.make([WEB])
    node = cluster.world.nodes[node_uuid(1)]
    node.disks |= {disk.path: FakeDisk(disk) for disk in specs.disks(WEB)}
    if hooks:
        node.add_hook("instance-reinstall-pre.d", "10-hook", **hooks)
    await cluster.start()

    def fault(call: Call) -> Fault | None:
        return meet(cluster, node) if isinstance(call.order, OsCreate) else None

    cluster.agents.fault = fault
    try:
        job = await cluster.run(REINSTALL)
        await cluster.engine.settle()
        return job, cluster.engine.snapshot().instance("web1").tags
    finally:
        await cluster.close()


async def test_a_job_that_is_cancelled_in_the_middle_marks_the_instance() -> None:
    tasks = []

    def cancel(cluster: FakeCluster, node: Any) -> None:
        tasks.append(asyncio.create_task(cluster.engine.cancel(cluster.only_job, kill=True)))

    job, tags = await reinstalled(cancel)
    await asyncio.gather(*tasks)
    assert job.status is JobStatus.CANCELED
    assert tags == (MARK,)


async def test_what_the_node_refuses_leaves_no_mark() -> None:
    def refuse(cluster: FakeCluster, node: Any) -> None:
        node.oses = ()

    job, tags = await reinstalled(refuse)
    assert job.status is JobStatus.ERROR
    assert tags == ()


async def test_a_denial_leaves_no_mark() -> None:
    def never(cluster: FakeCluster, node: Any) -> None:
        pytest.fail("the script ran")

    job, tags = await reinstalled(never, exit_status=1)
    assert job.status is JobStatus.ERROR
    assert tags == ()
