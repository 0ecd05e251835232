"""How a guest that is made believe comes to another node: by its name, in TLS, as a real one would.

Only what a driver needs of it is here: whom it awaits, and that he has come.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gantry.hypervisors.contract import Link
from gantry.model import timeouts
from gantry.model.errors import OperationFailed
from gantry.model.names import Uuid

if TYPE_CHECKING:
    import ssl


class Awaited:
    """A guest that is waited for, at ``port``."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        self.port: int = server.sockets[0].getsockname()[1]

    @classmethod
    async def listen(cls, uuid: Uuid, link: Link, came: Callable[[], None]) -> Awaited:
        """Listen for the peer alone; ``came`` is called once he has brought the guest."""
        visit = functools.partial(_visited, uuid, link.peer, came)
        tls = _tls(link, server=True)
        return cls(await asyncio.start_server(visit, link.host, 0, ssl=tls))

    def close(self) -> None:
        """Listen no more."""
        self._server.close()


async def call(uuid: Uuid, link: Link, port: int) -> None:
    """Bring the guest; OperationFailed where nobody waits for it."""
    try:
        async with asyncio.timeout(timeouts.URGENT):
            reader, writer = await asyncio.open_connection(
                link.host, port, ssl=_tls(link, server=False), server_hostname=link.peer
            )
            try:
                writer.write(f"{uuid}\n".encode())
                answer = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        raise OperationFailed(f"guest {uuid} could not be sent: {error}") from error
    if answer != b"here\n":
        raise OperationFailed(f"guest {uuid} could not be sent: the other end does not want it")


async def _visited(
    uuid: Uuid,
    peer: str,
    came: Callable[[], None],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    try:
        async with asyncio.timeout(timeouts.HANDSHAKE):
            if _name(writer) == peer and await reader.readline() == f"{uuid}\n".encode():
                came()
                writer.write(b"here\n")
                await writer.drain()
    except (OSError, TimeoutError):
        return
    finally:
        writer.close()


def _name(writer: asyncio.StreamWriter) -> str:
    """The subject of the caller's certificate, as ``identity.node_subject`` has it."""
    found = writer.get_extra_info("peercert") or {}
    names = {key: value for rdn in found.get("subject", ()) for key, value in rdn}
    return f"CN={names.get('commonName')},serialNumber={names.get('serialNumber')}"


def _tls(link: Link, *, server: bool) -> ssl.SSLContext:
    import ssl  # an agent that moves nothing need not load it here

    here = Path(link.directory)
    end = "server" if server else "client"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(here / "ca-cert.pem")
    context.load_cert_chain(here / f"{end}-cert.pem", here / f"{end}-key.pem")
    return context
