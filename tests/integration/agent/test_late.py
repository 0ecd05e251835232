"""What a master sent in its time and came later: nothing of it is done, whoever is master now."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.contract.agents.requests import disk, envelope
from tests.support.agent_process import AgentProcess, TestAuthority
from tests.support.proxy import Proxy

from gantry.model.errors import TooLate
from gantry.model.orders import Delay, DiskCreate, Nothing
from gantry.rpc.client import HttpAgents


class Way:
    """An agent, and its master's end behind a proxy."""

    def __init__(self, node: AgentProcess, wire: Proxy, agents: HttpAgents) -> None:
        self.node = node
        self.wire = wire
        self.agents = agents
        self.address = msgspec.structs.replace(node.address, port=wire.port)


@pytest.fixture
async def way(tmp_path: Path) -> AsyncIterator[Way]:
    ca = TestAuthority(tmp_path)
    node = AgentProcess(tmp_path, ca)
    await node.start()
    wire = Proxy(node.address.host, node.address.port)
    await wire.start()
    agents = ca.master()
    yield Way(node, wire, agents)
    await agents.close()
    await wire.close()
    await node.close()


async def test_an_order_that_was_held_up_beyond_its_time_is_refused(way: Way) -> None:
    await way.agents.order(way.address, envelope("j/first"), Delay(duration=0.0))
    one = disk()
    way.wire.hold()
    order = asyncio.ensure_future(
        way.agents.order(way.address, envelope("j/make", lease=0.5), DiskCreate(disk=one))
    )
    await way.wire.requests.wait()
    await asyncio.sleep(0.6)
    way.wire.let_go()
    with pytest.raises(TooLate):
        await order
    assert not (way.node.root / one.path.lstrip("/")).exists()
    # Given again by a master that still is one, it is done.
    again = envelope("j/make")
    assert await way.agents.order(way.address, again, DiskCreate(disk=one)) == Nothing()


async def test_an_answer_that_was_late_gives_no_order_more_time(way: Way) -> None:
    """What an agent's clock said counts from when it said it, not from when it was read."""
    way.wire.hold()
    order = asyncio.ensure_future(
        way.agents.order(way.address, envelope("j/a", lease=0.5), Delay(duration=0.0))
    )
    await way.wire.requests.wait()
    # Now the very first words are held up: the order is timed when they have been answered.
    await asyncio.sleep(0.6)
    way.wire.let_go()
    with pytest.raises(TooLate):
        await order


async def test_a_restarted_agent_is_announced_to_before_it_is_ordered_anything(way: Way) -> None:
    await way.agents.announce(way.address, 5)
    await way.agents.order(way.address, envelope("j/a", epoch=5), Delay(duration=0.0))
    await way.node.kill()
    await way.node.start()
    # The connection broke with the old agent, and its clock with it.
    order = envelope("j/b", epoch=5)
    with contextlib.suppress(Exception):
        await way.agents.order(way.address, order, Delay(duration=0.0))
    assert await way.agents.order(way.address, order, Delay(duration=0.0)) == Nothing()
    assert (await way.agents.announce(way.address, 6)).epoch == 5
