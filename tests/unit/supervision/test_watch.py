"""When a node counts as lost and when as back, second by second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from tests.fakes.agents import FakeAgents
from tests.fakes.cluster import node_uuid
from tests.fakes.world import FakeNode, World
from tests.unit.supervision.jumping import LoopClock, jumping

from gantry.model import timeouts
from gantry.model.errors import Reason, Superseded
from gantry.model.live import NodeLive
from gantry.model.names import Uuid
from gantry.ports.agents import Address, Event, Hello
from gantry.supervision.states import States
from gantry.supervision.watch import Watch

NODE = node_uuid(1)


class Holder:
    """Keeps the live states, and every change of a node's reachability with its time."""

    def __init__(self) -> None:
        self.nodes: dict[Uuid, NodeLive] = {}
        self.seen: list[tuple[float, bool]] = []
        self.writes = 0

    def set_live(self, node: Uuid, live: NodeLive) -> None:
        self.writes += 1
        if not self.seen or self.seen[-1][1] is not live.reachable:
            self.seen.append((asyncio.get_running_loop().time(), live.reachable))
        self.nodes[node] = live

    def forget(self, node: Uuid) -> None:
        self.nodes.pop(node, None)


class Silent(FakeAgents):
    """Says Hello and then nothing at all, as a machine without power does."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.opened: list[float] = []

    async def events(self, of: Address) -> AsyncIterator[Event]:
        first = not self.opened
        self.opened.append(asyncio.get_running_loop().time())
        if first:
            yield Hello(facts=self.world.nodes[of.node].facts(), guests=())
        await asyncio.get_running_loop().create_future()


class Mute(FakeAgents):
    """After the first Hello it takes every stream and ends it without a word."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.opened = 0

    async def events(self, of: Address) -> AsyncIterator[Event]:
        self.opened += 1
        if self.opened == 1:
            yield Hello(facts=self.world.nodes[of.node].facts(), guests=())


class Watched:
    """One node, watched."""

    def __init__(self, kind: type[FakeAgents] = FakeAgents) -> None:
        self.world = World()
        self.node = self.world.add(FakeNode(NODE, "node1.example.com"))
        self.agents = kind(self.world)
        self.holder = Holder()
        self.clock = LoopClock()
        self.came: list[str] = []
        self.changed: list[Uuid | None] = []
        self.watch = Watch(
            self.agents,
            States(self.holder, self.clock),
            self.clock,
            self._came,
            lambda node, guest: self.changed.append(guest),
        )
        self.address = self.agents.address(self.node)
        self.refuses = False

    async def _came(self, address: Address) -> None:
        self.came.append(address.name)
        if self.refuses:
            raise Superseded("another master", reason=Reason.STATE)

    async def __aenter__(self) -> Watched:
        self.watch.update({self.address})
        await asyncio.sleep(0.5)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.watch.close()
        await self.agents.close()

    def reachable(self) -> bool:
        return self.holder.nodes[NODE].reachable


@jumping
async def test_a_node_that_speaks_is_reachable_and_greeted() -> None:
    async with Watched() as one:
        assert one.reachable()
        assert one.came == ["node1.example.com"]
        assert one.changed == [None]


@jumping
async def test_heartbeats_keep_a_node_reachable_for_hours() -> None:
    async with Watched() as one:
        await asyncio.sleep(7200)
        assert one.holder.seen == [(0.0, True)]


@jumping
async def test_a_node_is_lost_only_after_ten_seconds() -> None:
    async with Watched() as one:
        one.agents.disconnect(one.node)
        await asyncio.sleep(timeouts.NODE_DOWN_AFTER - 1)
        assert one.reachable()
        await asyncio.sleep(2)
        assert not one.reachable()
        assert one.holder.nodes[NODE].facts is not None
        assert "does not answer" in one.holder.nodes[NODE].problem


@jumping
async def test_a_short_gap_is_not_shown() -> None:
    async with Watched() as one:
        one.agents.disconnect(one.node)
        await asyncio.sleep(5)
        one.agents.reconnect(one.node)
        await asyncio.sleep(60)
        assert one.holder.seen == [(0.0, True)]


@jumping
async def test_gaps_an_hour_apart_do_not_add_up() -> None:
    async with Watched() as one:
        for _ in range(5):
            one.agents.disconnect(one.node)
            await asyncio.sleep(5)
            one.agents.reconnect(one.node)
            await asyncio.sleep(3600)
        assert one.holder.seen == [(0.0, True)]


@jumping
async def test_a_lost_node_comes_back_and_is_greeted_again() -> None:
    async with Watched() as one:
        one.agents.disconnect(one.node)
        await asyncio.sleep(60)
        one.agents.reconnect(one.node)
        await asyncio.sleep(timeouts.RECONNECT + 0.5)
        assert one.reachable()
        assert len(one.came) == 2


@jumping
async def test_a_silent_stream_is_lost_ten_seconds_after_its_last_word() -> None:
    async with Watched(Silent) as one:
        await asyncio.sleep(timeouts.NODE_DOWN_AFTER + timeouts.RECONNECT)
        assert [reachable for _, reachable in one.holder.seen] == [True, False]
        lost = one.holder.seen[-1][0]
        assert timeouts.NODE_DOWN_AFTER <= lost <= timeouts.NODE_DOWN_AFTER + timeouts.RECONNECT


@jumping
async def test_a_silent_stream_is_opened_anew_before_the_node_is_lost() -> None:
    async with Watched(Silent) as one:
        await asyncio.sleep(timeouts.NODE_DOWN_AFTER - 1)
        assert isinstance(one.agents, Silent)
        assert len(one.agents.opened) == 2
        assert one.reachable()


@jumping
async def test_a_stream_that_ends_without_a_word_does_not_keep_its_node_up() -> None:
    async with Watched(Mute) as one:
        await asyncio.sleep(timeouts.NODE_DOWN_AFTER + timeouts.RECONNECT)
        assert not one.reachable()


@jumping
async def test_a_dead_node_is_told_of_once_and_not_every_second() -> None:
    async with Watched() as one:
        one.agents.disconnect(one.node)
        await asyncio.sleep(60)
        writes, changed = one.holder.writes, len(one.changed)
        await asyncio.sleep(3600)
        assert one.holder.writes == writes
        assert len(one.changed) == changed


@jumping
async def test_a_node_that_refuses_this_master_is_watched_all_the_same() -> None:
    one = Watched()
    one.refuses = True
    async with one:
        await asyncio.sleep(30)
        assert one.reachable()
        assert one.came == ["node1.example.com"]


@jumping
async def test_a_node_that_is_not_watched_any_more_is_forgotten() -> None:
    async with Watched() as one:
        one.watch.update(set())
        await asyncio.sleep(1)
        assert NODE not in one.holder.nodes
        one.watch.update({one.address})
        await asyncio.sleep(1)
        assert one.reachable()


@jumping
async def test_a_node_with_a_new_address_is_not_forgotten_in_between() -> None:
    async with Watched() as one:
        other = Address(node=NODE, name=one.address.name, host="127.0.0.2", port=1811)
        one.watch.update({other})
        assert one.reachable()
        await asyncio.sleep(30)
        assert one.reachable()
