"""What those without a certificate may cost an agent."""

from __future__ import annotations

import asyncio
import socket

from tests.support.agent_process import AgentProcess

from gantry.agent.server import LIMITS
from gantry.model import timeouts
from gantry.model.orders import ReadGuests
from gantry.rpc.client import HttpAgents


async def test_strangers_of_one_address_are_few_and_are_sent_away(
    node: AgentProcess, master: HttpAgents
) -> None:
    where = (node.address.host, node.address.port)
    strangers = [
        socket.create_connection(where, source_address=("127.0.0.9", 0))
        for _ in range(LIMITS.each + 20)
    ]
    for one in strangers:
        one.settimeout(3 * timeouts.HANDSHAKE)
    assert (await master.ask(node.address, ReadGuests(), 5.0)).guests == ()
    ends = await asyncio.to_thread(lambda: [_end(one) for one in strangers])
    assert set(ends) == {b""}


def _end(stranger: socket.socket) -> bytes:
    with stranger:
        try:
            return stranger.recv(1)
        except ConnectionError:
            return b""
