"""Consoles as WebSockets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from tests.fakes.cluster import instance_uuid, node_uuid
from tests.integration.api.conftest import Api
from tests.integration.api.test_information import running

from gantry.model.live import NodeLive

PATH = "http://gantry/gantry/1/instances/web1/console"


@pytest.fixture
async def session(api: Api) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.UnixConnector(str(api.path))
    async with aiohttp.ClientSession(connector=connector) as found:
        yield found


async def test_bytes_go_both_ways_until_the_guest_ends(
    api: Api, session: aiohttp.ClientSession
) -> None:
    api.queue.set_live(node_uuid(1), NodeLive(reachable=True, guests=running(1)))
    async with session.ws_connect(PATH) as socket:
        await socket.send_bytes(b"hello")
        assert await socket.receive_bytes(timeout=100) == b"HELLO"
        [(address, uuid, console)] = api.services.consoles
        assert (address.name, uuid) == ("node1.example.com", instance_uuid(1))
        console.say(b"login:")
        assert await socket.receive_bytes(timeout=100) == b"login:"
        console.end()
        assert (await socket.receive(timeout=100)).type is aiohttp.WSMsgType.CLOSE
    await console.detached.wait()


async def test_a_client_that_leaves_detaches(api: Api, session: aiohttp.ClientSession) -> None:
    api.queue.set_live(node_uuid(1), NodeLive(reachable=True, guests=running(1)))
    async with session.ws_connect(PATH) as socket:
        await socket.close()
    console = api.services.consoles[0][2]
    await console.detached.wait()


async def test_a_guest_on_another_node_is_found_there(
    api: Api, session: aiohttp.ClientSession
) -> None:
    api.queue.set_live(node_uuid(1), NodeLive(reachable=True))
    api.queue.set_live(node_uuid(2), NodeLive(reachable=True, guests=running(1)))
    async with session.ws_connect(PATH):
        assert api.services.consoles[0][0].name == "node2.example.com"


async def test_no_console_of_a_guest_that_does_not_run(
    api: Api, session: aiohttp.ClientSession
) -> None:
    async def refused(**headers: str) -> int:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect(PATH, headers=headers)
        return caught.value.status

    assert await refused() == 503
    api.queue.set_live(node_uuid(1), NodeLive(reachable=True))
    assert await refused() == 409
    assert await refused(Origin="https://elsewhere.example.com") == 403
    async with session.get(PATH) as answer:
        assert (answer.status, "is not running" in await answer.text()) == (409, True)
    api.queue.set_live(node_uuid(1), NodeLive(reachable=True, guests=running(1)))
    async with session.get(PATH) as answer:
        assert answer.status == 400
