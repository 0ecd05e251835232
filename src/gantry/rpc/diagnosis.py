"""Why an agent could not be reached, in words that say what to do."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time

import aiohttp

from gantry.model import timeouts
from gantry.model.errors import GantryError, Unavailable
from gantry.model.identity import node_host
from gantry.model.names import Uuid
from gantry.ports.agents import Address
from gantry.rpc import certificates
from gantry.rpc.certificates import Files


async def explain(to: Address, error: BaseException, files: Files, cluster: Uuid) -> GantryError:
    """What a failed call to a node means; a handshake that failed is looked into."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return await _certificate(to, error.certificate_error, files, cluster)
    if isinstance(error, aiohttp.ClientConnectorSSLError | ssl.SSLError):
        return _unavailable(to, f"the TLS handshake failed: {error}")
    if isinstance(error, aiohttp.ServerTimeoutError | TimeoutError):
        return _unavailable(to, "no answer in time")
    if isinstance(error, aiohttp.ClientConnectorError):
        return _unavailable(to, error.os_error.strerror or str(error.os_error))
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError | aiohttp.ClientError):
        return _unavailable(to, "the connection broke")
    return _unavailable(to, str(error) or type(error).__name__)


def _unavailable(to: Address, why: str) -> Unavailable:
    return Unavailable(
        f"node {to.name} ({to.host} port {to.port}) does not answer: {why}",
        "see whether the machine is up and its gantry-agent runs",
        node=to.name,
    )


async def _certificate(
    to: Address, error: BaseException, files: Files, cluster: Uuid
) -> GantryError:
    code = getattr(error, "verify_code", 0)
    if code == certificates.EXPIRED_CODE:
        return await _expired(to, files, cluster)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unavailable(
            f"whoever answers at {to.host} port {to.port} is not node {to.name}: "
            f"{error.verify_message}",
            "see whether the address is right; join the node again where it was made anew",
            node=to.name,
        )
    return _unavailable(to, str(error))


async def _expired(to: Address, files: Files, cluster: Uuid) -> GantryError:
    """Whose certificate ended, and when: the node's, or the CA's own."""
    ended = certificates.expiry(files.ca)
    if ended < time.time():
        rejected = certificates.expired("the cluster's CA", ended)
    else:
        try:
            ended = await _node_expiry(to, files, cluster)
        except (OSError, TimeoutError):
            return _unavailable(to, "its certificate has expired")
        rejected = certificates.expired(f"node {to.name}", ended)
    return Unavailable(rejected.message, rejected.hint, node=to.name)


async def _node_expiry(to: Address, files: Files, cluster: Uuid) -> float:
    async with asyncio.timeout(timeouts.CONNECT):
        _, writer = await asyncio.open_connection(
            to.host,
            to.port,
            ssl=certificates.timeless_context(files),
            server_hostname=node_host(cluster, to.node),
            family=socket.AF_UNSPEC,
        )
    peer = writer.get_extra_info("peercert")
    writer.close()
    return certificates.not_after(peer)
