"""Who may ask an agent, and whom a master believes to be a node."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.contract.agents.requests import envelope
from tests.support.agent_process import AgentProcess, TestAuthority, new_uuid

from gantry.model.errors import Rejected, Unavailable
from gantry.model.orders import Delay, ReadFacts
from gantry.ports.agents import Address
from gantry.rpc import certificates
from gantry.rpc.certificates import Files
from gantry.rpc.client import HttpAgents

LONG_AGO = time.time() - 6 * 365 * 86400


@contextlib.asynccontextmanager
async def calling(files: Files, ca: TestAuthority) -> AsyncIterator[HttpAgents]:
    agents = HttpAgents(files, ca.cluster, new_uuid())
    yield agents
    await agents.close()


async def test_a_caller_without_certificate_is_not_let_in(node: AgentProcess) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    url = f"https://{node.address.host}:{node.address.port}/1/announce"
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(aiohttp.ClientError):
            await session.post(url, data=b'{"epoch":99}')


async def test_a_master_of_a_foreign_ca_is_not_let_in(
    node: AgentProcess, ca: TestAuthority, tmp_path: Path
) -> None:
    foreign = TestAuthority(tmp_path / "foreign")
    issued = foreign.authority.issue_master(time.time())
    files = foreign.files("master", issued)
    # It even trusts our CA, so that the refusal is the agent's.
    files.ca.write_text(ca.authority.certificate)
    async with calling(files, ca) as agents:
        with pytest.raises(Unavailable, match="node1"):
            await agents.announce(node.address, 99)


async def test_a_node_may_not_give_orders(node: AgentProcess, ca: TestAuthority) -> None:
    issued = ca.authority.issue_node(new_uuid(), "node2", time.time())
    async with calling(ca.files("other", issued), ca) as agents:
        with pytest.raises(Rejected, match="only the master"):
            await agents.order(node.address, envelope("j/1"), Delay(duration=0.0))
        with pytest.raises(Rejected, match="only the master"):
            await agents.ask(node.address, ReadFacts(), 5.0)
        with pytest.raises(Rejected, match="only the master"):
            await agents.announce(node.address, 99)
        with pytest.raises(Rejected, match="only the master"):
            await anext(agents.events(node.address))
        with pytest.raises(Unavailable):
            await agents.console(node.address, new_uuid())


async def test_a_client_of_the_api_may_not_give_orders(
    node: AgentProcess, ca: TestAuthority
) -> None:
    issued = ca.authority.issue_client("admin", time.time())
    async with calling(ca.files("client", issued), ca) as agents:
        with pytest.raises(Rejected, match="only the master"):
            await agents.announce(node.address, 99)


async def test_the_master_of_another_cluster_of_the_same_ca_key_is_refused(
    node: AgentProcess, ca: TestAuthority
) -> None:
    ca.authority.cluster = new_uuid()
    issued = ca.authority.issue_master(time.time())
    async with calling(ca.files("master", issued), ca) as agents:
        with pytest.raises(Rejected, match="only the master"):
            await agents.announce(node.address, 99)


async def test_an_expired_master_is_told_which_certificate_when_and_what_to_do(
    node: AgentProcess, ca: TestAuthority
) -> None:
    issued = ca.authority.issue_master(LONG_AGO)
    files = ca.files("master", issued)
    async with calling(files, ca) as agents:
        with pytest.raises(Rejected, match="certificate of the master expired at 20") as caught:
            await agents.announce(node.address, 99)
    assert "renew-certificates" in caught.value.hint
    assert caught.value.node == "node1"
    assert "certificate of the master expired" in node.log()


async def test_an_expired_node_is_named_with_its_end(
    node: AgentProcess, ca: TestAuthority, master: HttpAgents
) -> None:
    await node.kill()
    expired = ca.authority.issue_node(node.uuid, "node1", LONG_AGO)
    node.certify(ca, expired)
    await node.start()
    with pytest.raises(Unavailable, match="certificate of node node1 expired at 20") as caught:
        await master.announce(node.address, 1)
    assert "renew-certificates" in caught.value.hint
    assert "certificate of this node expired at 20" in node.log()


async def test_renewed_certificates_are_valid_again_with_the_same_key(
    node: AgentProcess, ca: TestAuthority, master: HttpAgents
) -> None:
    from gantry.pki.renewal import renew

    await node.kill()
    node.certify(ca, ca.authority.issue_node(node.uuid, "node1", LONG_AGO))
    key = (node.root / "etc/gantry/pki/node.key").read_text()
    assert renew(ca.authority, node.root, time.time()) == ("node.pem",)
    assert (node.root / "etc/gantry/pki/node.key").read_text() == key
    await node.start()
    assert (await master.announce(node.address, 1)).epoch == 0


async def test_another_node_at_the_address_is_found_out_before_anything_is_sent(
    node: AgentProcess, master: HttpAgents
) -> None:
    meant = Address(new_uuid(), "node2", node.address.host, node.address.port)
    with pytest.raises(Unavailable, match="not node node2"):
        await master.announce(meant, 7)
    # The real node heard nothing.
    assert (await master.announce(node.address, 1)).epoch == 0


async def test_a_kept_connection_is_not_used_for_another_node(
    node: AgentProcess, master: HttpAgents
) -> None:
    await master.announce(node.address, 1)
    meant = Address(new_uuid(), "node2", node.address.host, node.address.port)
    with pytest.raises(Unavailable, match="not node node2"):
        await master.announce(meant, 7)


async def test_old_tls_is_refused(node: AgentProcess, ca: TestAuthority) -> None:
    files = ca.files("master", ca.authority.issue_master(time.time()))
    context = certificates.client_context(files)
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(aiohttp.ClientError):
            await session.post(
                f"https://{node.address.host}:{node.address.port}/1/announce", data=b"{}"
            )
