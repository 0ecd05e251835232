"""Writing the ssconf files to all nodes: in rounds, and to those that answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import msgspec
import pytest
from tests.fakes.agents import FakeAgents
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster, instance, node_uuid
from tests.fakes.world import FakeNode, World

from gantry.model.live import NodeLive
from gantry.model.orders import FilesWrite, Order
from gantry.ports.agents import Address, Envelope, Progress

A = TypeVar("A", bound=msgspec.Struct)


class SlowAgents(FakeAgents):
    """Files are written while ``gate`` is open."""

    def __init__(self, world: World, now: Callable[[], float]) -> None:
        super().__init__(world, now=now)
        self.gate = asyncio.Event()
        self.gate.set()
        self.written: list[tuple[str, FilesWrite]] = []

    async def order(
        self,
        to: Address,
        envelope: Envelope,
        order: Order[A],
        progress: Callable[[Progress], None] | None = None,
    ) -> A:
        if isinstance(order, FilesWrite):
            await self.gate.wait()
            self.written.append((to.name, order))
        return await super().order(to, envelope, order, progress)


@pytest.fixture
async def slow() -> AsyncIterator[FakeCluster]:
    made = await FakeCluster.make()
    clock = FakeClock()
    cluster = FakeCluster(made.store, SlowAgents(made.world, clock.monotonic), clock)
    await cluster.start()
    await cluster.engine.settle()
    agents(cluster).written.clear()
    yield cluster
    agents(cluster).gate.set()
    await cluster.close()


def agents(cluster: FakeCluster) -> SlowAgents:
    found = cluster.agents
    assert isinstance(found, SlowAgents)
    return found


async def add(cluster: FakeCluster, *numbers: int) -> None:
    """Instances that are there from one moment to the next."""
    await cluster.engine.change(put=[instance(number) for number in numbers])


def names(cluster: FakeCluster, node: int) -> list[str]:
    return cluster.world.nodes[node_uuid(node)].files["ssconf_instance_list"].split()


async def test_what_changes_during_a_round_is_all_in_the_next(slow: FakeCluster) -> None:
    slow_agents, distributor = agents(slow), slow.engine.distributor
    slow_agents.gate.clear()
    for number in range(1, 31):
        await add(slow, number)
        distributor.soon()
        await asyncio.sleep(0)
    slow_agents.gate.set()
    await slow.engine.settle()
    assert len(slow_agents.written) <= 2 * 3, "two rounds of three nodes"
    assert all(len(names(slow, node)) == 30 for node in (1, 2, 3))


async def test_who_waits_goes_on_when_the_own_change_is_written(slow: FakeCluster) -> None:
    slow_agents, distributor = agents(slow), slow.engine.distributor
    slow_agents.gate.clear()
    await add(slow, 1)
    first = asyncio.create_task(distributor.distribute())
    await asyncio.sleep(0)
    await add(slow, 2)
    others = [asyncio.create_task(distributor.distribute()) for _ in range(5)]
    await asyncio.sleep(0)
    assert not first.done()
    slow_agents.gate.set()
    await asyncio.gather(*others)
    assert len(names(slow, 3)) == 2
    assert len(slow_agents.written) == 2 * 3, "those who wait share a round"
    await first


async def test_nodes_that_are_away_are_told_all_when_they_are_back(slow: FakeCluster) -> None:
    live = slow.engine.live.nodes[node_uuid(2)]
    slow.engine.set_live(node_uuid(2), NodeLive(reachable=False))
    await add(slow, 1)
    await slow.engine.distributor.distribute()
    assert {name for name, _ in agents(slow).written} == {
        "node1.example.com",
        "node3.example.com",
    }
    slow.engine.set_live(node_uuid(2), live)
    await slow.engine.settle()
    name, order = agents(slow).written[-1]
    assert name == "node2.example.com"
    assert "ssconf_cluster_name" in order.files, "all of its files"
    assert names(slow, 2) == ["web1.example.com"]


async def test_a_node_that_has_just_been_added_is_written_to_at_once(slow: FakeCluster) -> None:
    new = slow.world.add(FakeNode(node_uuid(4), "node4.example.com"))
    third = slow.engine.snapshot().nodes[node_uuid(3)]
    added = msgspec.structs.replace(
        third, uuid=new.uuid, name=new.name, primary_ip="127.1.0.4", secondary_ip="127.1.0.4"
    )
    await slow.engine.change(put=[added])
    await slow.engine.distributor.distribute()
    assert new.files["ssconf_master_node"] == "node1.example.com\n", "nobody has heard of it yet"


async def test_nodes_know_whether_another_master_takes_over_by_itself() -> None:
    cluster = await FakeCluster.make(master_lease=7)
    for elected, told in ((False, ""), (True, "7\n")):
        engine = await cluster.start(elected=elected)
        await engine.distributor.distribute()
        files = cluster.world.nodes[node_uuid(3)].files
        assert files["ssconf_gantry_master_lease"] == told
    await cluster.close()


async def test_a_master_that_ends_does_not_wait_for_the_next_round(
    slow: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    distributor = slow.engine.distributor
    monkeypatch.setattr(distributor, "_due", asyncio.get_running_loop().time() + 3600)
    await add(slow, 1)
    distributor.soon()
    async with asyncio.timeout(30):
        await slow.engine.stop()
    assert agents(slow).written == []


async def test_agents_need_not_remember_what_was_written(slow: FakeCluster) -> None:
    for number in range(1, 4):
        await add(slow, number)
        await slow.engine.distributor.distribute()
    await slow.engine.settle()
    assert len(agents(slow).written) == 3 * 3
    assert not agents(slow).remembered
