"""Bringing all instances of a node elsewhere: which job for which, and that each is given once."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.fakes.cluster import FakeCluster, entities, instance, node_uuid, opcodes
from tests.fakes.world import FakeDisk
from tests.faults.breaking import BreakingStore
from tests.unit.operations.mirrored import DISK, IN_SYNC, STALE, mirror, mirrored
from tests.unit.operations.scene import NODE1, NODE2, NODE3, check, facts, live, snapshot, up, web

from gantry.model.entities import AdminState, Cluster, Disk, DiskTemplate, Instance, Mirror, Replica
from gantry.model.errors import Rejected
from gantry.model.jobs import DryRun, JobStatus
from gantry.model.live import NodeLive
from gantry.model.names import Uuid
from gantry.model.orders import GuestStart
from gantry.operations.steps import specs

EVACUATE: dict[str, Any] = {
    "OP_ID": "OP_NODE_EVACUATE",
    "node_name": "node1",
    "mode": "primary-only",
}
MIGRATE: dict[str, Any] = {"OP_ID": "OP_NODE_MIGRATE", "node_name": "node1"}


def disk(number: int, template: DiskTemplate = DiskTemplate.FILE) -> Disk:
    directory = "file" if template is DiskTemplate.FILE else "shared-file"
    return Disk(
        uuid=Uuid(f"00000000-0000-4000-8000-0000000006{number:02d}"),
        size=64,
        template=template,
        path=f"/srv/ganeti/{directory}-storage/web{number}.example.com/disk0",
    )


RUNS = instance(1, admin_state=AdminState.UP)
STOPPED = instance(2)
LOCAL = instance(3, disks=(disk(3),), disk_template=DiskTemplate.FILE)
SHARED = instance(
    4, disks=(disk(4, DiskTemplate.SHAREDFILE),), disk_template=DiskTemplate.SHAREDFILE
)
FOUR = (RUNS, STOPPED, LOCAL, SHARED)


def furnish(cluster: FakeCluster) -> None:
    [settings] = [one for one in entities() if isinstance(one, Cluster)]
    for one in FOUR:
        for node in cluster.world.nodes.values():
            if one is SHARED or node.uuid == node_uuid(1):
                node.disks |= {found.path: FakeDisk(found, "kept") for found in specs.disks(one)}
    order = GuestStart(spec=specs.guest(settings, RUNS))
    cluster.world.nodes[node_uuid(1)]._start(order)


async def all_ended(cluster: FakeCluster) -> None:
    async with asyncio.timeout(100):
        for job in cluster.engine.jobs():
            await cluster.ended(job.id)
        await cluster.engine.settle()


def left_on_node_1(cluster: FakeCluster) -> list[str]:
    return [one.name for one in cluster.engine.snapshot().instances_of(node_uuid(1))]


@pytest.mark.parametrize("op", [EVACUATE, MIGRATE])
async def test_each_goes_in_a_job_of_its_own_by_the_way_that_suits_it(op: dict[str, Any]) -> None:
    cluster = await FakeCluster.make(FOUR)
    furnish(cluster)
    await cluster.start()
    await cluster.engine.settle()
    job = await cluster.run(op)
    assert job.status is JobStatus.SUCCESS, job.ops[0].error
    told = job.ops[0].result["jobs"]
    assert [fine for fine, _ in told] == [True] * 4
    await all_ended(cluster)
    jobs = cluster.engine.jobs()
    assert sorted(one.id for one in jobs)[1:] == sorted(number for _, number in told)
    assert sorted(opcodes(jobs)[1:]) == [
        "OP_INSTANCE_FAILOVER",
        "OP_INSTANCE_FAILOVER",
        "OP_INSTANCE_MIGRATE",
        "OP_INSTANCE_MOVE",
    ]
    assert {one.status for one in jobs} == {JobStatus.SUCCESS}
    assert left_on_node_1(cluster) == []
    assert cluster.world.twice == []
    assert {one.requester for one in jobs} == {jobs[0].requester}
    await cluster.close()


async def test_a_dry_run_tries_each_of_its_jobs_too() -> None:
    cluster = await FakeCluster.make(FOUR)
    furnish(cluster)
    for node in cluster.world.nodes.values():
        node.add_hook("instance-move-pre.d", "10-ask")
    await cluster.start()
    await cluster.engine.settle()
    before = cluster.world.state()
    job = await cluster.run(EVACUATE, dry_run=DryRun.YES)
    assert job.status is JobStatus.SUCCESS, job.ops[0].error
    assert [fine for fine, _ in job.ops[0].result["jobs"]] == [True] * 4
    await all_ended(cluster)
    jobs = cluster.engine.jobs()
    assert [(one.status, one.dry_run) for one in jobs] == [(JobStatus.SUCCESS, DryRun.YES)] * 5
    said = [entry.text for one in jobs for entry in await cluster.engine.log(one.id)]
    assert any(line.startswith("would submit 4 jobs; tried as jobs ") for line in said)
    assert sum("would run instance-move-pre.d/10-ask" in line for line in said) == 2
    assert cluster.world.state() == before
    assert len(left_on_node_1(cluster)) == 4
    await cluster.close()


async def test_a_master_that_dies_at_any_commit_gives_each_job_once() -> None:
    number, met = 0, True
    while met:
        store = BreakingStore()
        cluster = await FakeCluster.make(FOUR, store=store)
        furnish(cluster)
        await cluster.start()
        await cluster.engine.settle()
        store.at, store.applied = store.seen + number, bool(number % 2)
        submitted = asyncio.create_task(cluster.submit(EVACUATE))
        crash = asyncio.create_task(store.crashed.wait())
        end = asyncio.create_task(_settled(cluster, submitted))
        await asyncio.wait([crash, end], return_when=asyncio.FIRST_COMPLETED)
        met = store.crashed.is_set()
        for task in (crash, end):
            task.cancel()
        if met:
            await cluster.crash()
            store.at = None
            await cluster.start()
            if not cluster.engine.jobs():  # it was never taken
                await cluster.run(EVACUATE)
        await all_ended(cluster)
        await all_ended(cluster)
        assert len(cluster.engine.jobs()) == 5, number
        assert left_on_node_1(cluster) == [], number
        await asyncio.gather(submitted, return_exceptions=True)
        await cluster.close()
        number += 3


async def _settled(cluster: FakeCluster, submitted: asyncio.Task[Any]) -> None:
    await cluster.ended(await submitted)
    for job in cluster.engine.jobs():
        await cluster.ended(job.id)
    await cluster.engine.settle()


def found(op: dict[str, Any], *more: Instance, **scene: Any) -> tuple[list[str], tuple[str, ...]]:
    """What each job does, and what cannot be done."""
    plan = check(snapshot(*more, **scene), op).found
    return [f"{job[0]['OP_ID']} {job[0]['instance_name']}" for job in plan.jobs], plan.problems


def test_from_a_dead_node_they_are_failed_over_and_what_cannot_go_is_said() -> None:
    silent = {NODE1: NodeLive(reachable=False, problem="refused")}
    jobs, problems = found(EVACUATE, nodes=silent)
    assert jobs == []
    assert "nothing proves that its guest is dead" in problems[0]
    offline = {NODE1: {"offline": True}}
    local = web(3, disks=(disk(3),), disk_template=DiskTemplate.FILE)
    jobs, problems = found(EVACUATE, local, nodes=silent, change=offline)
    assert jobs == ["OP_INSTANCE_FAILOVER web1.example.com"]
    assert "are on node node1.example.com alone" in problems[0]
    with pytest.raises(Rejected, match="is marked offline"):
        check(snapshot(nodes=silent, change=offline), MIGRATE)


def test_what_fits_nowhere_holds_up_no_other() -> None:
    """The second does not fit where the first one goes."""
    big = {"maxmem": 3000, "minmem": 3000}
    both = [web(number, admin_state=AdminState.UP, beparams=big) for number in (1, 2)]
    guests = {
        uuid: msgspec.structs.replace(guest, memory=3000)
        for number in (1, 2)
        for uuid, guest in up(number).items()
    }
    nodes = {
        NODE1: live(facts(memory_total=9000), guests),
        NODE2: live(facts(memory_total=4000)),
        NODE3: live(facts(memory_total=1000)),
    }
    jobs, problems = found(EVACUATE, *both, nodes=nodes)
    assert jobs == ["OP_INSTANCE_MIGRATE web1.example.com"]
    assert len(problems) == 1


def test_all_can_go_to_one_node_and_how_is_passed_on() -> None:
    op = {**MIGRATE, "target_node": "node3", "mode": "non-live", "deadline": 60}
    running = {NODE1: live(guests=up())}
    plan = check(snapshot(web(admin_state=AdminState.UP), nodes=running), op)
    [[job]] = plan.found.jobs
    assert (job["target_node"], job["mode"], job["deadline"]) == ("node3", "non-live", 60)


def test_replicas_go_elsewhere_before_they_go() -> None:
    one = mirrored(primary_node=NODE2, secondary_nodes=(NODE1,))
    swapped = Mirror(
        uuid=DISK.uuid,
        name=DISK.uuid,
        instance=one.uuid,
        replicas={node: Replica(number=n, state=IN_SYNC) for n, node in enumerate((NODE2, NODE1))},
        next_number=2,
    )
    for mode in ("all", "secondary-only"):
        plan = check(snapshot(one, swapped), {**EVACUATE, "mode": mode})
        [[job]] = plan.found.jobs
        assert job == {
            "OP_ID": "OP_INSTANCE_REPLACE_DISKS",
            "instance_name": "web1.example.com",
            "mode": "replace_new_secondary",
            "remote_node": "node3.example.com",
            "old_node": "node1.example.com",
        }
    assert check(snapshot(one, swapped), EVACUATE).found.jobs == ()


def test_mirrored_instances_go_to_where_they_are_in_sync() -> None:
    one = mirrored(admin_state=AdminState.UP)
    running = {NODE1: live(guests=up())}
    [[job]] = check(snapshot(one, mirror(), nodes=running), EVACUATE).found.jobs
    assert (job["OP_ID"], job["instance_name"]) == ("OP_INSTANCE_MIGRATE", "web1.example.com")
    [[job]] = check(snapshot(one, mirror()), EVACUATE).found.jobs
    assert job == {"OP_ID": "OP_INSTANCE_FAILOVER", "instance_name": "web1.example.com"}
    off = {"nodes": {NODE1: NodeLive(reachable=False)}, "change": {NODE1: {"offline": True}}}
    [[job]] = check(snapshot(one, mirror(), **off), EVACUATE).found.jobs  # type: ignore[arg-type]
    assert job["OP_ID"] == "OP_INSTANCE_FAILOVER"
    behind = check(snapshot(one, mirror(STALE), **off), EVACUATE)  # type: ignore[arg-type]
    assert behind.found.jobs == () and "in sync" in behind.found.problems[0]
