"""What becomes of replicas while a guest runs: decided and carried out on a recording queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import entities, instance_uuid, node_uuid
from tests.fakes.queue import FakeQueue
from tests.unit.operations.mirrored import DISK, IN_SYNC, STALE, SYNCING, mirror, mirrored

from gantry.model import locks, timeouts
from gantry.model.entities import AdminState, ReplicaState
from gantry.model.errors import Unavailable
from gantry.model.jobs import JobStatus, Submission
from gantry.model.live import GuestLive, GuestState, MirrorLive, MirrorPhase, NodeFacts, NodeLive
from gantry.model.locks import Lock
from gantry.model.names import Uuid
from gantry.model.replica_orders import MirrorRelease, ReplicaMark
from gantry.model.replicas import ReplicaBecame
from gantry.supervision.keeper import WHO, Keeper
from gantry.supervision.replicas import guarded

NODE1, NODE2, NODE3 = (node_uuid(number) for number in (1, 2, 3))
WEB = instance_uuid(1)
LOST, READY, COPYING = MirrorPhase.LOST, MirrorPhase.READY, MirrorPhase.COPYING


class Queue(FakeQueue):
    """Knows which locks a job is about."""

    def __init__(self, *states: ReplicaState | None) -> None:
        web = mirrored(admin_state=AdminState.UP)
        super().__init__([*entities(3), web, mirror(*states)])
        self.concerned: set[Lock] = set()

    def concerns(self, lock: Lock) -> bool:
        return lock in self.concerned


class Scene:
    """web1 runs on node 1; its replicas on nodes 2 and 3 are in these states."""

    def __init__(self, two: ReplicaState | None = IN_SYNC, three: ReplicaState | None = None):
        self.clock = FakeClock()
        self.queue = Queue(two, three)
        self.again: list[Uuid] = []
        self.keeper = Keeper(self.queue, self.clock, self.again.append)
        for node in (NODE2, NODE3):
            self.queue.set_live(node, NodeLive(reachable=True, facts=NodeFacts()))
        self.says({})

    def says(
        self,
        phases: dict[Uuid, MirrorPhase],
        *,
        state: GuestState = GuestState.RUNNING,
        reachable: bool = True,
        since: float = 1.0,
        **more: Any,
    ) -> None:
        """What node 1 tells of the mirrors of web1."""
        mirrors = tuple(
            MirrorLive(disk=DISK.uuid, node=node, phase=phase, **more)
            for node, phase in phases.items()
        )
        guest = GuestLive(uuid=WEB, name="web1", state=state, since=since, mirrors=mirrors)
        live = NodeLive(reachable=reachable, facts=NodeFacts(), guests={WEB: guest})
        self.queue.set_live(NODE1, live)

    async def look(self) -> list[Any]:
        """What was done, as (node, order) and changes."""
        self.queue.did.clear()
        self.keeper.look([WEB])
        await self.keeper.settle()
        return list(self.queue.did)

    async def job(self, op: str, **fields: Any) -> None:
        """A job that has not ended."""
        given = {"OP_ID": op, "instance_name": "web1", **fields}
        await self.queue.submit(Submission(ops=(given,), request_id=f"{op}{fields}"))
        self.queue.submissions.clear()

    @property
    def state(self) -> ReplicaState:
        return self.queue.cluster.mirrors[DISK.uuid].replicas[NODE2].state

    @property
    def submitted(self) -> list[Any]:
        return [op for one in self.queue.submissions for op in one.ops]


SYNC = {"OP_ID": "OP_INSTANCE_SYNC_DISKS", "instance_name": "web1.example.com"}


@pytest.mark.parametrize("state", [IN_SYNC, SYNCING])
async def test_a_lost_replica_is_stale_in_the_store_before_writes_go_on(
    state: ReplicaState,
) -> None:
    scene = Scene(state)
    scene.says({NODE2: LOST})
    change, (node, order) = await scene.look()
    assert change == ReplicaBecame(disk=DISK.uuid, node=NODE2, state=STALE)
    assert (node, order) == (
        NODE1,
        MirrorRelease(guest=WEB, hypervisor="fake", index=0, node=NODE2),
    )


async def test_one_that_was_released_without_us_is_stale_too() -> None:
    scene = Scene()
    scene.says({NODE2: LOST}, released=True)
    assert [type(one).__name__ for one in await scene.look()] == ["ReplicaBecame", "tuple"]


async def test_writes_go_on_where_the_store_knew_it_already() -> None:
    """The order was lost, or another master had got as far as the commit."""
    scene = Scene(STALE)
    scene.says({NODE2: LOST})
    [(node, order)] = await scene.look()
    assert (node, type(order)) == (NODE1, MirrorRelease)


async def test_a_stale_replica_that_comes_back_by_itself_is_released_all_the_same() -> None:
    scene = Scene(STALE)
    scene.says({NODE2: READY})
    [(_, order)] = await scene.look()
    assert isinstance(order, MirrorRelease)


async def test_what_is_ready_is_marked_on_its_node_and_then_in_sync() -> None:
    scene = Scene(SYNCING)
    scene.says({NODE2: READY})
    (node, order), change = await scene.look()
    assert node == NODE2 and isinstance(order, ReplicaMark)
    assert (order.disk.uuid, order.generation, order.state) == (DISK.uuid, 1, IN_SYNC)
    assert change.only_from is SYNCING and scene.state is IN_SYNC
    assert await scene.look() == []


async def test_what_is_ready_in_sync_or_still_copied_is_left_alone() -> None:
    for state, phase in ((IN_SYNC, READY), (SYNCING, COPYING), (IN_SYNC, COPYING)):
        scene = Scene(state)
        scene.says({NODE2: phase})
        assert await scene.look() == []
        assert scene.submitted == [] and scene.again == []


async def test_a_node_that_does_not_take_the_mark_leaves_it_syncing() -> None:
    scene = Scene(SYNCING)
    scene.says({NODE2: READY})
    scene.queue.refuse_order = lambda node, order: Unavailable("gone")
    [(_, order)] = await scene.look()
    assert isinstance(order, ReplicaMark)
    assert scene.state is SYNCING and scene.again == [WEB]


async def test_what_was_ready_before_the_guest_died_is_not_in_sync() -> None:
    """Between the mark and the commit the guest is started anew, and everything is copied."""
    scene = Scene(SYNCING)
    scene.says({NODE2: READY})

    def meanwhile(node: Uuid, order: object) -> None:
        scene.says({NODE2: READY}, since=2.0)

    scene.queue.refuse_order = meanwhile
    await scene.look()
    assert scene.state is SYNCING


async def test_what_is_lost_after_the_mark_is_not_in_sync() -> None:
    scene = Scene(SYNCING)
    scene.says({NODE2: READY})

    def meanwhile(node: Uuid, order: object) -> None:
        scene.says({NODE2: LOST})

    scene.queue.refuse_order = meanwhile
    await scene.look()
    assert scene.state is not IN_SYNC


async def test_writes_are_released_before_anything_waits_for_another_node() -> None:
    scene = Scene(SYNCING, IN_SYNC)
    scene.says({NODE2: READY, NODE3: LOST})
    did = await scene.look()
    assert isinstance(did[0], ReplicaBecame) and did[0].node == NODE3
    assert isinstance(did[1][1], MirrorRelease) and isinstance(did[2][1], ReplicaMark)


@pytest.mark.parametrize(
    ("op", "target", "held"),
    [
        ("OP_INSTANCE_FAILOVER", None, True),
        ("OP_INSTANCE_FAILOVER", "node2", True),
        ("OP_INSTANCE_MIGRATE", "node3", False),
        ("OP_INSTANCE_MIGRATE", "node2", True),
        ("OP_INSTANCE_STARTUP", None, False),
    ],
)
async def test_a_job_that_may_promote_a_replica_keeps_it_as_it_is(
    op: str, target: str | None, held: bool
) -> None:
    scene = Scene(IN_SYNC)
    await scene.job(op, target_node=target)
    scene.says({NODE2: LOST})
    did = await scene.look()
    assert (did == []) is held
    if held:
        assert scene.again == [WEB]
        job = scene.queue.jobs()[0].id
        await scene.queue.end(job, JobStatus.ERROR)
        assert len(await scene.look()) == 2


async def test_a_job_that_comes_while_it_is_marked_keeps_writes_waiting() -> None:
    scene = Scene(IN_SYNC)
    scene.says({NODE2: LOST})
    commit = scene.queue.change

    async def slowly(*args: Any, **kwargs: Any) -> None:
        await commit(*args, **kwargs)
        await scene.job("OP_INSTANCE_FAILOVER")

    scene.queue.change = slowly  # type: ignore[method-assign]
    [change] = await scene.look()
    assert change.state is STALE
    assert scene.again == [WEB]


async def test_jobs_of_other_instances_or_unknown_ones_guard_nothing() -> None:
    scene = Scene(IN_SYNC)
    for name in ("web9", "nobody"):
        await scene.job("OP_INSTANCE_FAILOVER", instance_name=name)
    [one] = scene.queue.cluster.instances.values()
    assert guarded(scene.queue.cluster, scene.queue.jobs(), one) == frozenset()


async def test_a_stale_replica_whose_node_is_there_is_mirrored_anew_by_a_job() -> None:
    scene = Scene(STALE)
    await scene.look()
    assert scene.submitted == [SYNC]
    assert scene.queue.submissions[0].requester == WHO


async def test_such_jobs_come_with_pauses_and_begin_anew_once_all_is_well() -> None:
    scene = Scene(STALE)
    for pause in timeouts.SYNC_PAUSES[1:]:
        await scene.look()
        await scene.look()
        scene.clock.advance(pause)
    assert len(scene.submitted) == len(timeouts.SYNC_PAUSES) - 1
    scene.queue.put(mirror(IN_SYNC))
    scene.says({NODE2: READY})
    await scene.look()
    scene.queue.put(mirror(STALE))
    scene.says({})
    await scene.look()
    assert len(scene.submitted) == len(timeouts.SYNC_PAUSES)


NOT_THERE: list[Callable[[Scene], None]] = [
    lambda scene: scene.queue.set_live(NODE2, NodeLive(reachable=False)),
    lambda scene: scene.says({}, reachable=False),
    lambda scene: scene.says({}, state=GuestState.STOPPED),
    lambda scene: scene.queue.concerned.add(locks.instance(WEB)),
]


@pytest.mark.parametrize("prepare", NOT_THERE)
async def test_nothing_is_mirrored_anew_while_it_cannot_be(
    prepare: Callable[[Scene], None],
) -> None:
    scene = Scene(STALE)
    prepare(scene)
    assert await scene.look() == []
    assert scene.submitted == []


async def test_what_nothing_is_mirrored_to_is_stale_when_it_stays_so() -> None:
    scene = Scene(IN_SYNC)
    assert await scene.look() == [] and scene.again == [WEB]
    scene.clock.advance(timeouts.MIRROR_MISSING + 1)
    [change] = await scene.look()
    assert change == ReplicaBecame(disk=DISK.uuid, node=NODE2, state=STALE)
    await scene.look()
    assert scene.submitted == [SYNC]


async def test_what_is_mirrored_again_in_time_was_never_missing() -> None:
    scene = Scene(IN_SYNC)
    await scene.look()
    scene.says({NODE2: READY})
    await scene.look()
    scene.says({})
    scene.clock.advance(timeouts.MIRROR_MISSING + 1)
    assert await scene.look() == []


async def test_a_copy_that_nobody_makes_is_begun_again() -> None:
    """Its job was undone, say."""
    scene = Scene(SYNCING)
    await scene.look()
    assert scene.submitted == []
    scene.clock.advance(timeouts.MIRROR_MISSING + 1)
    await scene.look()
    assert scene.submitted == [SYNC]


async def test_a_mirror_that_no_replica_stands_for_is_let_go_unless_a_job_makes_it() -> None:
    scene = Scene(IN_SYNC)
    scene.says({NODE2: READY, NODE3: COPYING})
    scene.queue.concerned.add(locks.instance(WEB))
    assert await scene.look() == []
    scene.queue.concerned.clear()
    [(_, order)] = await scene.look()
    assert isinstance(order, MirrorRelease) and order.node == NODE3


async def test_while_a_job_makes_it_one_is_stale_and_attached() -> None:
    scene = Scene(STALE)
    scene.queue.concerned.add(locks.instance(WEB))
    scene.says({NODE2: COPYING})
    assert await scene.look() == []


def test_the_instances_of_a_node_are_those_with_a_replica_there() -> None:
    scene = Scene(IN_SYNC)
    assert scene.keeper.of_node(NODE1) == scene.keeper.of_node(NODE2) == {WEB}
    assert scene.keeper.of_node(NODE3) == set()


async def test_without_a_guest_what_is_ready_or_lost_counts_and_nothing_is_missing() -> None:
    scene = Scene(SYNCING)
    scene.says({NODE2: READY}, state=GuestState.STOPPED)
    await scene.look()
    assert scene.state is IN_SYNC
    scene.says({NODE2: LOST}, state=GuestState.STOPPED)
    change, (_, order) = await scene.look()
    assert change.state is STALE and isinstance(order, MirrorRelease)
    scene.says({}, state=GuestState.STOPPED)
    scene.clock.advance(timeouts.MIRROR_MISSING + 1)
    assert await scene.look() == [] and scene.submitted == []
