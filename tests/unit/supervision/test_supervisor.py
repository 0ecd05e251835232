"""Supervision beside a real job queue: what it does while jobs run, and how often it looks."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from tests.fakes.agents import FakeAgents
from tests.fakes.cluster import instance, instance_uuid, node_uuid
from tests.fakes.queue import FakeQueue
from tests.fakes.world import FakeNode, World
from tests.unit.operations.mirrored import STALE, mirror, mirrored
from tests.unit.supervision.jumping import LoopClock, jumping
from tests.unit.supervision.test_restarts import Queue

from gantry.model import locks, timeouts
from gantry.model.entities import AdminState
from gantry.model.live import GuestLive, GuestState, NodeLive
from gantry.model.names import Uuid
from gantry.ports.agents import Address, GuestChanged
from gantry.supervision.states import States
from gantry.supervision.supervisor import Supervisor

WEB = instance_uuid(1)


class _Holder:
    def __init__(self, queue: FakeQueue) -> None:
        self.queue = queue
        self.nodes: dict[Uuid, NodeLive] = {}

    def set_live(self, node: Uuid, live: NodeLive) -> None:
        self.nodes[node] = live
        self.queue.set_live(node, live)

    def forget(self, node: Uuid) -> None:
        self.nodes.pop(node, None)


class Counting(Queue):
    """Counts how often somebody looks at the cluster."""

    looks = 0

    def snapshot(self) -> Any:
        self.looks += 1
        return super().snapshot()


class Scene:
    """One node; web1 should be up, and its node knows it as running."""

    def __init__(self) -> None:
        world = World()
        self.node = world.add(FakeNode(node_uuid(1), "node1.example.com"))
        self.agents = FakeAgents(world)
        self.queue = Counting(instance(1, admin_state=AdminState.UP), nodes=1)
        self.told: list[str] = []
        self.supervisor = Supervisor(
            self.queue,
            self.agents,
            States(_Holder(self.queue), LoopClock()),
            LoopClock(),
            self._came,
        )
        self._since = 1.0

    async def _came(self, address: Address) -> None:
        self.told.append(address.name)

    async def __aenter__(self) -> Scene:
        await self.supervisor.listen([self.node.uuid], 5)
        self.say(GuestState.RUNNING)
        await asyncio.sleep(0.1)
        self.supervisor.start()
        await asyncio.sleep(0.1)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.supervisor.close()
        await self.agents.close()

    def say(self, state: GuestState, uuid: Uuid = WEB) -> None:
        """The node tells of a guest."""
        self._since += 1
        live = GuestLive(uuid=uuid, name="web1.example.com", state=state, since=self._since)
        self.node._tell(GuestChanged(guest=live))


@jumping
async def test_a_guest_that_dies_is_started_again_at_once() -> None:
    async with Scene() as scene:
        scene.say(GuestState.DIED)
        await asyncio.sleep(0.1)
        assert len(scene.queue.ops) == 1


@jumping
async def test_a_guest_that_a_running_job_stops_is_not_started_again() -> None:
    async with Scene() as scene:
        scene.queue.concerned.add(locks.instance(WEB))
        scene.say(GuestState.STOPPED)
        await asyncio.sleep(120)
        assert scene.queue.ops == []
        scene.queue.put(instance(1, admin_state=AdminState.DOWN))
        scene.queue.concerned.clear()
        await asyncio.sleep(3600)
        assert scene.queue.ops == []


@jumping
async def test_a_guest_that_a_failed_job_left_down_is_started_again() -> None:
    async with Scene() as scene:
        scene.queue.concerned.add(locks.instance(WEB))
        scene.say(GuestState.STOPPED)
        await asyncio.sleep(20)
        scene.queue.concerned.clear()
        await asyncio.sleep(timeouts.LOOK_AGAIN)
        assert len(scene.queue.ops) == 1


@jumping
async def test_a_guest_that_never_comes_up_is_tried_five_times_within_half_an_hour() -> None:
    async with Scene() as scene:
        scene.say(GuestState.DIED)
        await asyncio.sleep(1800)
        assert len(scene.queue.ops) == 5
        await asyncio.sleep(timeouts.RESTART_WINDOW - 1900)
        assert len(scene.queue.ops) == 5
        await asyncio.sleep(1000)
        assert len(scene.queue.ops) > 5


@jumping
async def test_many_events_beside_a_long_job_do_not_multiply_the_looks() -> None:
    async with Scene() as scene:
        scene.queue.concerned.add(locks.instance(WEB))
        for _ in range(200):
            scene.say(GuestState.STOPPED)
            await asyncio.sleep(0.01)
        before = scene.queue.looks
        await asyncio.sleep(300)
        assert scene.queue.looks - before <= 3 * 300 / timeouts.LOOK_AGAIN


@jumping
async def test_a_guest_that_comes_up_makes_nobody_look() -> None:
    async with Scene() as scene:
        before = scene.queue.looks
        for _ in range(100):
            scene.say(GuestState.RUNNING)
        await asyncio.sleep(1)
        assert scene.queue.looks == before


@jumping
async def test_a_commit_that_changes_no_node_costs_one_look() -> None:
    async with Scene() as scene:
        scene.queue.put(instance(1, admin_state=AdminState.UP, tags=("new",)))
        before = scene.queue.looks
        scene.supervisor.refresh()
        await asyncio.sleep(1)
        assert scene.queue.looks == before + 1


@jumping
async def test_maintenance_that_is_switched_on_again_starts_what_is_down() -> None:
    async with Scene() as scene:
        settings = scene.queue.cluster.cluster
        scene.queue.put(msgspec.structs.replace(settings, maintain=False))
        scene.supervisor.refresh()
        scene.say(GuestState.DIED)
        await asyncio.sleep(10)
        assert scene.queue.ops == []
        scene.queue.put(settings)
        scene.supervisor.refresh()
        await asyncio.sleep(0.1)
        assert len(scene.queue.ops) == 1


@jumping
async def test_after_a_nodes_reboot_its_guests_are_started_again() -> None:
    async with Scene() as scene:
        scene.agents.disconnect(scene.node)
        scene.node.reboot()
        await asyncio.sleep(60)
        assert scene.queue.ops == []
        scene.agents.reconnect(scene.node)
        await asyncio.sleep(timeouts.RECONNECT + 0.5)
        assert len(scene.queue.ops) == 1
        assert scene.told == ["node1.example.com"] * 2


class MirroredScene(Scene):
    """Two nodes; web1 is down, and its replica on the second one is stale."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.node = self.world.add(FakeNode(node_uuid(1), "node1.example.com"))
        self.world.add(FakeNode(node_uuid(2), "node2.example.com"))
        self.agents = FakeAgents(self.world)
        self.queue = Counting(mirrored(admin_state=AdminState.DOWN), nodes=2)
        self.queue.put(mirror(STALE))
        self.supervisor = Supervisor(
            self.queue,
            self.agents,
            States(_Holder(self.queue), LoopClock()),
            LoopClock(),
            self._came,
        )


@jumping
async def test_a_guest_that_is_started_is_mirrored_to_a_node_that_came_back_before() -> None:
    scene = MirroredScene()
    await scene.supervisor.listen([node_uuid(1), node_uuid(2)], 5)
    scene.say(GuestState.STOPPED)
    await asyncio.sleep(0.1)
    scene.supervisor.start()
    await asyncio.sleep(60)
    assert scene.queue.ops == []
    scene.queue.put(mirrored(admin_state=AdminState.UP))
    scene.say(GuestState.RUNNING)
    await asyncio.sleep(1)
    assert [op["OP_ID"] for op in scene.queue.ops] == ["OP_INSTANCE_SYNC_DISKS"]
    await scene.supervisor.close()
    await scene.agents.close()
