"""What a job makes of its scripts, beside what commands of a real Ganeti printed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from tests.fakes.cluster import FakeCluster, instance, node_uuid

from gantry.model import timeouts
from gantry.model.jobs import Job, JobStatus
from gantry.model.orders import HooksRun

GOLDEN: Final = Path(__file__).parents[2] / "golden" / "hooks"
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
STOP: Final = {"OP_ID": "OP_INSTANCE_SHUTDOWN", "instance_name": "web1"}
VERIFY: Final = {"OP_ID": "OP_CLUSTER_VERIFY"}
SAID: Final = "custom verify problem on node1.example.com\n"


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    made = await FakeCluster.make([instance(1)], hooks_version=2)
    await made.start()
    yield made
    await made.close()


async def log(cluster: FakeCluster, job: Job) -> list[str]:
    return [entry.text for entry in await cluster.engine.log(job.id)]


def printed(case: str, last: int) -> list[str]:
    """The last lines of what Ganeti printed, without the times; the node by its name (row 39)."""
    lines = (GOLDEN / case / "command.out").read_text().splitlines()[-last:]
    return [_UUID.sub("node1.example.com", line).split(" 2026 ", 1)[1] for line in lines]


async def test_a_post_script_that_fails_is_a_warning_as_with_ganeti(cluster: FakeCluster) -> None:
    node = cluster.world.nodes[node_uuid(1)]
    directory = "instance-stop-post.d"
    node.add_hook(directory, "60-fail", exit_status=1, output="post-out\npost-err\n")
    node.add_hook(directory, "61-silentfail", exit_status=1)
    job = await cluster.run(STOP)
    assert job.status is JobStatus.SUCCESS
    expected = [line.removeprefix(" - WARNING: ") for line in printed("a2-post-hook-fails", 3)[:2]]
    assert [line for line in await log(cluster, job) if " failed, output: " in line] == expected


async def test_a_script_that_fails_a_verification_is_told_as_with_ganeti(
    cluster: FakeCluster,
) -> None:
    directory = "cluster-verify-post.d"
    cluster.world.nodes[node_uuid(1)].add_hook(directory, "60-fail", exit_status=1, output=SAID)
    cluster.world.nodes[node_uuid(2)].add_hook(directory, "60-fail")
    job = await cluster.run(VERIFY)
    assert job.ops[0].result is False
    warning, *rest = printed("a3-verify-hook-fails", 4)
    lines = await log(cluster, job)
    assert lines[-4] == warning.removeprefix(" - WARNING: ")
    assert lines[-3:] == rest


async def test_a_script_of_a_verification_may_be_ignored(cluster: FakeCluster) -> None:
    directory = "cluster-verify-post.d"
    cluster.world.nodes[node_uuid(1)].add_hook(directory, "60-fail", exit_status=1, output=SAID)
    job = await cluster.run({**VERIFY, "ignore_errors": ["ENODEHOOKS"]})
    assert job.ops[0].result is True
    line = (
        "  - WARNING: node node1.example.com: Script cluster-verify-post.d/60-fail failed, output:"
    )
    assert line in await log(cluster, job)


async def test_a_node_that_cannot_run_its_checks_fails_the_verification(
    cluster: FakeCluster,
) -> None:
    cluster.agents.disconnect(cluster.world.nodes[node_uuid(3)])
    job = await cluster.run({**VERIFY, "ignore_errors": ["ENODERPC"]})
    assert job.ops[0].result is False
    found = [line for line in await log(cluster, job) if "Communication failure in hooks" in line]
    assert len(found) == 1
    assert found[0].startswith("  - ERROR: node node3.example.com: ")


async def test_a_phase_has_time_for_scripts_that_all_reach_their_deadline(
    cluster: FakeCluster,
) -> None:
    await cluster.run(STOP)
    limits = {
        call.envelope.timeout for call in cluster.agents.calls if isinstance(call.order, HooksRun)
    }
    assert limits
    assert min(limits) >= 100 * timeouts.HOOK_SCRIPT
