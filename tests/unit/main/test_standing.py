"""What a new master writes down, and whom it waits for."""

from __future__ import annotations

import asyncio

import msgspec
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster, node_uuid
from tests.faults.situations import TAKEN_OVER

from gantry.main.standing import MOST_WAIT, heard, taken_over

A, B, C = node_uuid(1), node_uuid(2), node_uuid(3)


def test_scripts_hear_from_whom_the_master_moved_though_it_moved_again_before() -> None:
    began = msgspec.structs.replace(TAKEN_OVER, master_node=A, failed_over_from=None)
    once = taken_over(began, B)
    assert (once.failed_over_from, once.master_node) == (A, B)
    # Nobody has heard of B yet.
    further = taken_over(once, C)
    assert (further.failed_over_from, further.master_node) == (A, C)
    back = taken_over(once, A)
    assert (back.failed_over_from, back.master_node) == (B, A)
    assert back.serial_no == began.serial_no + 2


class Mornings(FakeClock):
    """All machines but the first are back after half a minute."""

    def __init__(self, cluster: FakeCluster) -> None:
        super().__init__()
        self.began = self.monotonic()
        self._cluster = cluster

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        if self.monotonic() - self.began > 30.0:
            for number in (2, 3):
                self._cluster.agents.reconnect(self._cluster.world.nodes[node_uuid(number)])


async def test_after_a_power_cut_an_old_master_waits_for_those_who_know_better() -> None:
    cluster = await FakeCluster.make()
    nodes = [cluster.address(number) for number in (1, 2, 3)]
    await cluster.agents.seen_from(B).announce(cluster.address(2), 7)
    for number in (2, 3):
        cluster.agents.disconnect(cluster.world.nodes[node_uuid(number)])
    assert B not in await heard(cluster.agents, FakeClock(), nodes, 0.0)
    seen = await heard(cluster.agents, Mornings(cluster), nodes, MOST_WAIT)
    assert (seen[B].epoch, seen[B].node) == (7, B)
    await cluster.close()


async def test_it_does_not_wait_where_half_of_the_nodes_answer_and_not_for_ever() -> None:
    cluster = await FakeCluster.make()
    nodes = [cluster.address(number) for number in (1, 2, 3)]
    cluster.agents.disconnect(cluster.world.nodes[C])
    clock = FakeClock()
    began = clock.monotonic()
    assert set(await heard(cluster.agents, clock, nodes, MOST_WAIT)) == {A, B}
    assert clock.monotonic() == began
    cluster.agents.disconnect(cluster.world.nodes[B])
    async with asyncio.timeout(100):
        assert set(await heard(cluster.agents, clock, nodes, MOST_WAIT)) == {A}
    assert MOST_WAIT <= clock.monotonic() - began <= MOST_WAIT + 2.0
    await cluster.close()
