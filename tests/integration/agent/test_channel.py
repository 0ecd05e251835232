"""Orders that share one connection: none waits for another, none is lost without a word."""

from __future__ import annotations

import asyncio

import pytest
from tests.contract.agents.requests import envelope, hooks
from tests.support.agent_process import AgentProcess

from gantry.model.errors import Rejected, Unavailable
from gantry.model.orders import Delay, FilesWrite, Nothing
from gantry.rpc.client import HttpAgents


async def test_many_orders_at_a_time_all_have_their_own_answers(
    node: AgentProcess, master: HttpAgents
) -> None:
    wanted = [Delay(duration=0.01 * (number % 3)) for number in range(100)]
    found = await asyncio.gather(
        *(
            master.order(node.address, envelope(f"j{number}/a"), order)
            for number, order in enumerate(wanted)
        ),
        master.order(node.address, envelope("bad/a"), FilesWrite(files={"../x": ""})),
        return_exceptions=True,
    )
    assert found[:-1] == [Nothing()] * 100
    assert isinstance(found[-1], Rejected)


async def test_a_slow_order_holds_no_quick_one_up(node: AgentProcess, master: HttpAgents) -> None:
    slow = asyncio.ensure_future(
        master.order(node.address, envelope("slow/a"), Delay(duration=60.0))
    )
    async with asyncio.timeout(10):
        await master.order(node.address, envelope("quick/a"), hooks())
    assert not slow.done()
    slow.cancel()


async def test_an_agent_that_dies_fails_all_that_wait_and_is_found_again(
    node: AgentProcess, master: HttpAgents
) -> None:
    told = asyncio.Event()
    orders = [
        asyncio.ensure_future(
            master.order(
                node.address, envelope(f"j{n}/a"), Delay(duration=60.0), lambda _line: told.set()
            )
        )
        for n in range(3)
    ]
    await told.wait()
    await node.kill()
    found = await asyncio.gather(*orders, return_exceptions=True)
    assert [type(one) for one in found] == [Unavailable] * 3
    await node.start()
    assert await master.order(node.address, envelope("k/a"), Delay(duration=0.0)) == Nothing()


async def test_who_gave_up_waiting_leaves_the_order_running(
    node: AgentProcess, master: HttpAgents
) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await master.order(node.address, envelope("j/a"), Delay(duration=0.5))
    assert await master.order(node.address, envelope("j/a"), Delay(duration=0.5)) == Nothing()
