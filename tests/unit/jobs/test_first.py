"""Changes of replicas' states that stand before an effect, or with an operation's end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest
from tests.fakes.agents import Call, Fault
from tests.fakes.cluster import FakeCluster, instance, instance_uuid, node_uuid
from tests.faults.breaking import next_master

from gantry.hooks.subject import Subject, SubjectKind
from gantry.model.codec import decode
from gantry.model.entities import Mirror, Replica, ReplicaState
from gantry.model.jobs import JobStatus
from gantry.model.locks import Needs
from gantry.model.names import Uuid
from gantry.model.orders import Delay
from gantry.model.replicas import MirrorChange, ReplicaAdded, ReplicaBecame
from gantry.model.snapshot import Snapshot
from gantry.operations import registry
from gantry.operations.base import Given, Operation, Plan
from gantry.ports.steps import Changes, Outcome, Steps

DISK = Uuid("00000000-0000-4000-8000-000000000777")
NODE1, NODE2, NODE3 = (node_uuid(number) for number in (1, 2, 3))
SYNCING, IN_SYNC, STALE = ReplicaState.SYNCING, ReplicaState.IN_SYNC, ReplicaState.STALE
MIRROR = Mirror(
    uuid=DISK,
    name=DISK,
    instance=instance_uuid(1),
    replicas={NODE1: Replica(number=0, state=IN_SYNC), NODE2: Replica(number=1, state=IN_SYNC)},
    next_number=2,
)
LOST = ReplicaBecame(disk=DISK, node=NODE2, state=STALE)


class Probe(Operation[Plan], frozen=True, kw_only=True):
    """Two effects; changes stand before the second one, and with the end."""

    opcode: ClassVar[str] = "OP_INSTANCE_STARTUP"

    def needs(self, cluster: Snapshot) -> Needs:
        return Needs()

    def check(self, cluster: Snapshot, given: Given) -> Plan:
        return Plan()

    def subject(self, plan: Plan, cluster: Snapshot) -> Subject:
        return Subject(kind=SubjectKind.INSTANCE, instance=cluster.instances[instance_uuid(1)])

    async def run(self, plan: Plan, steps: Steps) -> Outcome:
        if BEFORE_ALL:
            await steps.do("first", NODE1, Delay(duration=0), first=Changes(mirrors=(LOST,)))
            return Outcome()
        await steps.do("first", NODE1, Delay(duration=0))
        await steps.do("second", NODE2, Delay(duration=0), first=Changes(mirrors=(LOST,)))
        return Outcome(mirrors=tuple(AT_THE_END))


BEFORE_ALL: list[bool] = []
AT_THE_END: list[MirrorChange] = []


@pytest.fixture
async def cluster(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeCluster]:
    monkeypatch.setattr(registry, "find", lambda opcode: Probe)
    BEFORE_ALL.clear()
    AT_THE_END.clear()
    made = await FakeCluster.make([instance(1), MIRROR])
    await made.start()
    await made.engine.settle()
    yield made
    await made.close()


def states(cluster: FakeCluster) -> dict[Uuid, ReplicaState]:
    mirror = cluster.engine.snapshot().mirrors[DISK]
    return {node: replica.state for node, replica in mirror.replicas.items()}


async def stored(cluster: FakeCluster) -> dict[Uuid, ReplicaState]:
    item = await cluster.store.get(f"mirrors/{DISK}")
    assert item is not None
    mirror = decode(f"mirrors/{DISK}", item.value)
    assert isinstance(mirror, Mirror)
    return {node: replica.state for node, replica in mirror.replicas.items()}


def at(name: str, fault: Fault | None) -> Any:
    def decide(call: Call) -> Fault | None:
        return fault if call.envelope.key.endswith(f"/{name}") else None

    return decide


PROBE = {"OP_ID": "OP_INSTANCE_STARTUP"}


async def test_it_is_durable_when_the_order_is_given_and_not_earlier(cluster: FakeCluster) -> None:
    seen: dict[str, ReplicaState] = {}

    def look(call: Call) -> None:
        seen.setdefault(call.envelope.key.rpartition("/")[2], states(cluster)[NODE2])

    cluster.agents.fault = look
    job = await cluster.run(PROBE)
    assert job.status is JobStatus.SUCCESS, job.ops[0].error
    assert (seen["first"], seen["second"]) == (IN_SYNC, STALE)
    assert (await stored(cluster))[NODE2] is STALE


async def test_it_is_in_the_store_when_the_master_dies_before_the_order(
    cluster: FakeCluster,
) -> None:
    cluster.agents.fault = at("second", Fault.CRASH_BEFORE)
    await cluster.submit(PROBE)
    await cluster.agents.crashed.wait()
    assert (await stored(cluster))[NODE2] is STALE


async def test_it_costs_no_commit_of_its_own(cluster: FakeCluster) -> None:
    before = cluster.engine.awaited_commits
    await cluster.run(PROBE)
    assert cluster.engine.awaited_commits - before <= 3


async def test_a_replay_does_not_apply_it_again(cluster: FakeCluster) -> None:
    cluster.agents.fault = at("second", Fault.CRASH_AFTER)
    job = await cluster.submit(PROBE)
    await cluster.agents.crashed.wait()
    # Before the next master goes on, the replica is in sync again.
    back = ReplicaBecame(disk=DISK, node=NODE2, state=IN_SYNC)
    await cluster.engine.change(mirrors=[back])
    await next_master(cluster)
    assert (await cluster.ended(job)).status is JobStatus.SUCCESS
    assert states(cluster)[NODE2] is IN_SYNC
    assert (await stored(cluster))[NODE2] is IN_SYNC


@pytest.mark.parametrize("before_all", [False, True])
async def test_nothing_changes_before_the_scripts_agree(
    cluster: FakeCluster, before_all: bool
) -> None:
    BEFORE_ALL.extend([True] * before_all)
    cluster.world.nodes[NODE1].add_hook("instance-start-pre.d", "50-no", exit_status=1)
    job = await cluster.run(PROBE)
    assert job.ops[0].error is not None and job.ops[0].error.code == "hooks-denied"
    assert states(cluster)[NODE2] is IN_SYNC


async def test_it_stands_also_before_the_very_first_effect(cluster: FakeCluster) -> None:
    BEFORE_ALL.append(True)
    cluster.agents.fault = at("first", Fault.CRASH_BEFORE)
    job = await cluster.submit(PROBE)
    await cluster.agents.crashed.wait()
    assert (await stored(cluster))[NODE2] is STALE
    await next_master(cluster)
    assert (await cluster.ended(job)).status is JobStatus.SUCCESS


async def test_it_is_applied_to_what_is_there_then(cluster: FakeCluster) -> None:
    """What others did meanwhile is kept: of other replicas, and of this one's number."""
    changing: list[asyncio.Future[None]] = []

    def meanwhile(call: Call) -> None:
        if call.envelope.key.endswith("/first"):
            added = ReplicaAdded(disk=DISK, node=NODE3, state=SYNCING)
            changing.append(asyncio.ensure_future(cluster.engine.change(mirrors=[added])))

    cluster.agents.fault = meanwhile
    job = await cluster.run(PROBE)
    assert job.status is JobStatus.SUCCESS, job.ops[0].error
    await changing[0]
    assert states(cluster) == {NODE1: IN_SYNC, NODE2: STALE, NODE3: SYNCING}
    assert await stored(cluster) == states(cluster)


async def test_it_stays_where_the_operation_fails_afterwards(cluster: FakeCluster) -> None:
    cluster.agents.fault = at("second", Fault.FAILS)
    job = await cluster.run(PROBE)
    assert job.status is JobStatus.ERROR
    assert states(cluster)[NODE2] is STALE


async def test_what_comes_with_the_end_is_applied_then(cluster: FakeCluster) -> None:
    AT_THE_END.append(ReplicaBecame(disk=DISK, node=NODE2, state=SYNCING, only_from=STALE))
    job = await cluster.run(PROBE)
    assert job.status is JobStatus.SUCCESS, job.ops[0].error
    assert states(cluster)[NODE2] is SYNCING
