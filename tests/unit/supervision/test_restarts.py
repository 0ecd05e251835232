"""Which guests are started again, and when: decided on a queue that only records."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import entities, instance, instance_uuid, node_uuid
from tests.fakes.queue import FakeQueue

from gantry.model import locks, timeouts
from gantry.model.entities import AdminState, Cluster, HypervisorName, Instance, Node
from gantry.model.errors import Reason, Rejected
from gantry.model.jobs import Submission
from gantry.model.live import GuestLive, GuestState, NodeFacts, NodeLive
from gantry.model.locks import Lock
from gantry.supervision.restart import TRIES, Restarts, wanted

NODE = node_uuid(1)
WEB = instance_uuid(1)
HOURS_8 = timeouts.RESTART_WINDOW


class Queue(FakeQueue):
    """Knows which locks a job is about."""

    def __init__(self, *more: Instance, nodes: int = 3) -> None:
        super().__init__([*entities(nodes), *more])
        self.concerned: set[Lock] = set()

    def concerns(self, lock: Lock) -> bool:
        return lock in self.concerned

    @property
    def ops(self) -> list[dict[str, Any]]:
        return [op for submission in self.submissions for op in submission.ops]


class Scene:
    """web1 should be up, and ``state`` is what its node says."""

    def __init__(self, state: GuestState | None = GuestState.DIED, **web: Any) -> None:
        self.clock = FakeClock()
        self.queue = Queue(instance(1, admin_state=AdminState.UP, **web))
        self.guest(state)
        self.restarts = Restarts(self.queue, self.clock)

    def guest(self, state: GuestState | None, *, reachable: bool = True) -> None:
        guests = {}
        if state is not None:
            guests[WEB] = GuestLive(uuid=WEB, name="web1.example.com", state=state)
        live = NodeLive(reachable=reachable, facts=NodeFacts(), guests=guests)
        self.queue.set_live(NODE, live)

    def node(self, **changes: Any) -> None:
        entity = self.queue.cluster.nodes[NODE]
        changed: Node = msgspec.structs.replace(entity, **changes)
        self.queue.put(changed)

    def cluster(self, **changes: Any) -> None:
        changed: Cluster = msgspec.structs.replace(self.queue.cluster.cluster, **changes)
        self.queue.put(changed)

    async def look(self) -> set[str]:
        return {str(uuid) for uuid in await self.restarts.look([NODE])}

    async def exhaust(self) -> None:
        for _ in range(TRIES):
            await self.look()
            self.clock.advance(max(timeouts.RESTART_PAUSES))


async def test_a_guest_that_died_is_started_again_by_a_job() -> None:
    scene = Scene()
    await scene.look()
    [submission] = scene.queue.submissions
    assert submission.ops == (
        {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1.example.com", "if_needed": True},
    )
    assert submission.requester == "gnt:watcher"
    assert submission.reason[0][1] == "should be up and is down (try 1 of 5)"


async def test_a_guest_that_its_node_does_not_know_is_started_again() -> None:
    scene = Scene(None)
    await scene.look()
    assert len(scene.queue.ops) == 1


@pytest.mark.parametrize("state", [GuestState.RUNNING, GuestState.PAUSED])
async def test_what_is_up_is_left_alone(state: GuestState) -> None:
    scene = Scene(state)
    assert await scene.look() == set()
    assert scene.queue.ops == []


@pytest.mark.parametrize("admin", [AdminState.DOWN, AdminState.OFFLINE])
async def test_what_should_not_be_up_is_left_alone(admin: AdminState) -> None:
    scene = Scene()
    scene.queue.put(instance(1, admin_state=admin))
    await scene.look()
    assert scene.queue.ops == []


async def test_nothing_is_started_on_a_node_that_does_not_answer() -> None:
    scene = Scene()
    scene.guest(GuestState.DIED, reachable=False)
    await scene.look()
    assert scene.queue.ops == []


async def test_nothing_is_started_on_a_node_that_never_spoke() -> None:
    scene = Scene()
    assert wanted(scene.queue.cluster, node_uuid(2)) == []


async def test_nothing_is_started_on_an_offline_node() -> None:
    scene = Scene()
    scene.node(offline=True)
    await scene.look()
    assert scene.queue.ops == []


async def test_a_drained_node_keeps_its_guests_up() -> None:
    scene = Scene()
    scene.node(drained=True)
    await scene.look()
    assert len(scene.queue.ops) == 1


async def test_nothing_is_started_while_maintenance_is_off() -> None:
    scene = Scene()
    scene.cluster(maintain=False)
    await scene.look()
    assert scene.queue.ops == []


async def test_a_guest_that_a_job_is_about_is_looked_at_again_later() -> None:
    scene = Scene(GuestState.STOPPED)
    scene.queue.concerned.add(locks.instance(WEB))
    assert await scene.look() == {WEB}
    assert scene.queue.ops == []
    scene.queue.concerned.clear()
    await scene.restarts.look(instances=[WEB])
    assert len(scene.queue.ops) == 1


async def test_a_stop_that_ended_meanwhile_is_not_undone() -> None:
    scene = Scene(GuestState.STOPPED)
    scene.queue.concerned.add(locks.instance(WEB))
    again = await scene.restarts.look([NODE])
    scene.queue.concerned.clear()
    scene.queue.put(instance(1, admin_state=AdminState.DOWN))
    assert await scene.restarts.look(instances=again) == set()
    assert scene.queue.ops == []


async def test_an_instance_that_was_removed_meanwhile_is_forgotten() -> None:
    scene = Scene()
    assert await scene.restarts.look(instances=[instance_uuid(99)]) == set()


async def test_the_cluster_is_looked_at_anew_for_every_guest() -> None:
    scene = Scene()
    scene.queue.put(instance(2, admin_state=AdminState.UP))

    class Changing(Restarts):
        async def _submit(self, op: dict[str, Any], why: str) -> None:
            # While the first one is submitted, the operator takes the second one down.
            scene.queue.put(instance(2, admin_state=AdminState.DOWN))
            await super()._submit(op, why)

    await Changing(scene.queue, scene.clock).look([NODE])
    assert [op["instance_name"] for op in scene.queue.ops] == ["web1.example.com"]


async def test_a_guest_is_started_five_times_in_eight_hours_and_not_again() -> None:
    scene = Scene()
    await scene.exhaust()
    for _ in range(3):
        await scene.look()
        scene.clock.advance(600)
    assert len(scene.queue.ops) == 5


async def test_after_eight_hours_it_is_tried_again() -> None:
    scene = Scene()
    await scene.exhaust()
    scene.clock.advance(HOURS_8)
    await scene.look()
    assert len(scene.queue.ops) == 6


async def test_tries_that_are_used_up_are_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    await scene.exhaust()
    await scene.look()
    await scene.look()
    assert caplog.text.count("was started 5 times in 8 hours") == 1


async def test_tries_do_not_follow_each_other_at_once() -> None:
    scene = Scene()
    assert await scene.look() == {WEB}
    assert await scene.look() == {WEB}
    assert len(scene.queue.ops) == 1
    scene.clock.advance(timeouts.RESTART_PAUSES[1])
    await scene.look()
    assert len(scene.queue.ops) == 2
    scene.clock.advance(timeouts.RESTART_PAUSES[1])
    await scene.look()
    assert len(scene.queue.ops) == 2


async def test_a_submission_that_is_refused_is_no_try() -> None:
    scene = Scene()
    scene.queue.refuse = Rejected("the queue is full", reason=Reason.TEMPORARILY_NO_RESOURCES)
    for _ in range(10):
        assert await scene.look() == {WEB}
    scene.queue.refuse = None
    await scene.look()
    assert len(scene.queue.ops) == 1


async def test_one_that_is_refused_does_not_keep_others_from_being_started() -> None:
    scene = Scene()
    scene.queue.put(instance(2, admin_state=AdminState.UP))

    class Choosy(Restarts):
        async def _submit(self, op: dict[str, Any], why: str) -> None:
            if op["instance_name"].startswith("web1"):
                raise Rejected("not this one")
            await super()._submit(op, why)

    await Choosy(scene.queue, scene.clock).look([NODE])
    assert [op["instance_name"] for op in scene.queue.ops] == ["web2.example.com"]


async def test_a_new_master_counts_the_tries_of_the_one_before() -> None:
    scene = Scene()
    await scene.exhaust()
    scene.clock = FakeClock(seed=2, start=1002.0)
    later = Restarts(scene.queue, scene.clock)
    later.recall()
    await later.look([NODE])
    assert len(scene.queue.ops) == 5


async def test_what_was_stopped_in_order_is_not_held_to_earlier_masters_tries() -> None:
    scene = Scene()
    await scene.exhaust()
    scene.guest(GuestState.STOPPED)
    later = Restarts(scene.queue, FakeClock(seed=2, start=1002.0))
    later.recall()
    await later.look([NODE])
    assert len(scene.queue.ops) == 6


async def test_an_operators_start_is_no_try() -> None:
    scene = Scene()
    op = {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1.example.com"}
    for number in range(9):
        await scene.queue.submit(Submission(ops=(op,), request_id=str(number), requester="root"))
    later = Restarts(scene.queue, FakeClock(seed=2, start=1002.0))
    later.recall()
    await later.look([NODE])
    assert len(scene.queue.ops) == 10


async def test_a_guest_that_shut_itself_down_is_started_again() -> None:
    scene = Scene(GuestState.SHUT_DOWN)
    await scene.look()
    assert scene.queue.ops[0]["OP_ID"] == "OP_INSTANCE_STARTUP"


@pytest.mark.parametrize(
    ("cluster", "own", "left"),
    [(True, None, True), (None, True, True), (True, False, False), (None, None, False)],
)
async def test_a_users_shutdown_is_accepted_where_the_filled_parameter_says_so(
    cluster: bool | None, own: bool | None, left: bool
) -> None:
    scene = Scene(
        GuestState.SHUT_DOWN,
        hypervisor=HypervisorName.KVM,
        hvparams={} if own is None else {"user_shutdown": own},
    )
    if cluster is not None:
        scene.cluster(hvparams={"kvm": {"user_shutdown": cluster}})
    await scene.look()
    [op] = scene.queue.ops
    if left:
        assert op == {
            "OP_ID": "OP_INSTANCE_SHUTDOWN",
            "instance_name": "web1.example.com",
            "admin_state_source": "user",
        }
    else:
        assert op["OP_ID"] == "OP_INSTANCE_STARTUP"


async def test_all_guests_of_a_node_that_was_rebooted_are_started_again() -> None:
    scene = Scene(None)
    for number in range(2, 6):
        scene.queue.put(instance(number, admin_state=AdminState.UP))
    await scene.look()
    assert len(scene.queue.ops) == 5
