"""Orders that share one connection: none waits for another, none is lost without a word."""

from __future__ import annotations

import asyncio
import functools
import signal
from pathlib import Path

import pytest
from tests.contract.agents.requests import envelope, hooks
from tests.support.agent_process import AgentProcess
from tests.support.cluster import eventually

from gantry.model import timeouts
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
    async with asyncio.timeout(100):
        await master.order(node.address, envelope("quick/a"), hooks())
    assert not slow.done()
    slow.cancel()


async def test_orders_that_take_longer_than_a_master_waits_in_silence_are_heard_of(
    node: AgentProcess, master: HttpAgents
) -> None:
    """Also one that begins while others run already."""
    over = timeouts.NODE_DOWN_AFTER + 1.0

    async def order(number: int) -> Nothing:
        await asyncio.sleep(0.7 * number)
        return await master.order(
            node.address, envelope(f"slow{number}/a", timeout=60.0), Delay(duration=over)
        )

    assert await asyncio.gather(*map(order, range(4))) == [Nothing()] * 4


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


async def test_what_was_given_up_is_not_delivered_late(
    node: AgentProcess, master: HttpAgents
) -> None:
    """The job may be over by then: the agent, which has forgotten it, would do it again."""
    assert node.process is not None
    await master.order(node.address, envelope("k/a"), Delay(duration=0.0))
    node.process.send_signal(signal.SIGSTOP)
    large = {"ssconf_instance_list": "web1.example.com\n" * 12_000}
    orders = [
        master.order(node.address, envelope(f"late{n}/a", lease=600.0), FilesWrite(files=large))
        for n in range(50)
    ]
    found = await asyncio.gather(*orders, return_exceptions=True)
    assert {type(one) for one in found} == {Unavailable}
    left = functools.partial(_to_be_sent, node.address.port)
    await asyncio.to_thread(eventually, "nothing is left to be sent", lambda: not left())
    node.process.send_signal(signal.SIGCONT)
    await master.order(node.address, envelope("k/b"), Delay(duration=0.0))


def _to_be_sent(port: int) -> list[str]:
    """The lines of those connections to a port that the system still has something for."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    to_port = [line for line in lines if line[2].endswith(f":{port:04X}")]
    return [" ".join(line) for line in to_port if not line[4].startswith("00000000:")]
