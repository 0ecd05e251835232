"""What those who have no certificate and no password may cost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.fakes.cluster import entities
from tests.fakes.queue import FakeQueue
from tests.fakes.services import FakeServices
from tests.integration.api.conftest import Api
from tests.integration.api.test_serve import Pki

from gantry.api.app import build
from gantry.api.serve import Server
from gantry.network.listening import Limits


@contextlib.asynccontextmanager
async def serving(directory: Path, limits: Limits) -> AsyncIterator[tuple[int, Pki]]:
    """An API on TLS; its port."""
    pki = Pki(directory / "pki")
    server = await Server.start(
        build(FakeQueue(entities(1)), FakeServices()),
        directory / "master.sock",
        tls=pki.server(),
        host="127.0.0.1",
        port=0,
        limits=limits,
    )
    assert server.port
    try:
        yield server.port, pki
    finally:
        await server.close()


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the other side has closed it, soon."""
    try:
        async with asyncio.timeout(30):
            return await reader.read(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


async def ask(port: int, pki: Pki) -> bytes:
    """A whole request over TLS; the answer's first line."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=pki.client())
    writer.write(b"GET /gantry/1/ca HTTP/1.0\r\nHost: x\r\n\r\n")
    line = (await reader.read()).partition(b"\r\n")[0]
    writer.close()
    await writer.wait_closed()
    return line


async def test_a_connection_that_says_nothing_is_closed(tmp_path: Path) -> None:
    limits = Limits(connections=4, each=4, handshake=0.2)
    async with serving(tmp_path, limits) as (port, pki):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await ended(reader)
        writer.close()
        assert b"200" in await ask(port, pki)


async def test_no_more_connections_than_the_limit_are_kept(tmp_path: Path) -> None:
    limits = Limits(connections=3, each=3, handshake=60.0)
    async with serving(tmp_path, limits) as (port, pki):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await ended(reader)
        writer.close()
        assert not any(one.at_eof() for one, _ in silent)
        with pytest.raises(OSError):
            await ask(port, pki)
        for _, one in silent:
            one.close()
        async with asyncio.timeout(50):
            while True:
                with contextlib.suppress(OSError):
                    assert b"200" in await ask(port, pki)
                    break


async def test_one_address_does_not_take_the_places_of_the_others(tmp_path: Path) -> None:
    limits = Limits(connections=10, each=2, handshake=60.0)
    async with serving(tmp_path, limits) as (port, pki):
        kept = [
            await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
            for _ in range(3)
        ]
        assert await ended(kept[-1][0])
        assert b"200" in await ask(port, pki)
        for _, writer in kept:
            writer.close()


async def test_a_body_that_does_not_come_is_not_waited_for(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gantry.model.timeouts.CLIENT_READ", 0.1)
    reader, writer = await asyncio.open_unix_connection(api.path)
    writer.write(b"POST /gantry/1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    async with asyncio.timeout(50):
        assert b"400" in await reader.readline()
    writer.close()


async def test_a_client_that_asks_nothing_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gantry.model.timeouts.IDLE", 0.2)
    async with serving(tmp_path, Limits(connections=4, each=4)) as (port, pki):
        for said in (b"", b"GET /gantry/1/ca HTTP/1.1\r\nHost"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=pki.client())
            writer.write(said)
            assert await ended(reader)
            writer.close()
