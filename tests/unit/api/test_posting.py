"""What is told of a webhook's server never has its address in it: that may be a secret."""

from __future__ import annotations

import errno
import socket
import struct
import threading
from collections.abc import Iterator

import aiohttp
import pytest

from gantry.api import posting
from gantry.model.entities import Webhook
from gantry.model.names import Uuid

TOKEN = "token-in-the-path"


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ECONNRESET, None])
def test_a_request_that_cannot_be_written_is_told_without_the_address(number: int | None) -> None:
    said = f"Can not write request body for http://127.0.0.1/in/{TOKEN}"
    told = posting._words(aiohttp.ClientOSError(number, said))
    assert told.startswith("cannot connect: ")
    assert TOKEN not in told


@pytest.fixture
def rude() -> Iterator[int]:
    """A server that resets each connection as soon as it is there; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)

        def refuse() -> None:
            with server.accept()[0] as connection:
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        yield int(server.getsockname()[1])
        thread.join()


async def test_a_server_that_resets_the_connection_is_told_without_the_address(rude: int) -> None:
    webhook = Webhook(
        uuid=Uuid("w"), name="chat", url=f"http://127.0.0.1:{rude}/in/{TOKEN}", secret="s"
    )
    async with posting.Poster(webhook) as poster:
        told = await poster.post(b"x" * 900_000, "1", 1)
    assert told and TOKEN not in told
