"""Where the API listens and whom it lets in: the socket, certificates, users with passwords."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from tests.fakes.cluster import CLUSTER, entities
from tests.fakes.queue import FakeQueue
from tests.fakes.services import FakeServices
from tests.integration.api.conftest import Api

from gantry.api.app import build
from gantry.api.serve import Server
from gantry.api.users import Users, hashed
from gantry.model.errors import OperationFailed
from gantry.model.names import Uuid
from gantry.pki.authority import Authority, Issued

OTHER = Uuid("99999999-0000-4000-8000-000000000002")


class Pki:
    """An authority, and contexts made of its certificates."""

    def __init__(self, directory: Path, cluster: Uuid = CLUSTER) -> None:
        self._directory = directory
        directory.mkdir()
        self.authority = Authority.create(cluster, "cluster.example.com", time.time())
        self._ca = directory / "ca.pem"
        self._ca.write_text(self.authority.certificate)

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_OPTIONAL
        return self._with(context, self.authority.issue_api(["127.0.0.1"], time.time()))

    def client(self, issued: Issued | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return self._with(context, issued)

    def _with(self, context: ssl.SSLContext, issued: Issued | None) -> ssl.SSLContext:
        context.load_verify_locations(self._ca)
        if issued is not None:
            file = self._directory / f"{id(issued)}.pem"
            file.write_text(issued.certificate + issued.key)
            context.load_cert_chain(file)
        return context


class Secured:
    """An API on TLS."""

    def __init__(self, pki: Pki, users: Path, port: int, queue: FakeQueue) -> None:
        self.pki = pki
        self.users = users
        self.port = port
        self.queue = queue

    async def ask(
        self,
        path: str,
        issued: Issued | None = None,
        user: str = "",
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """The status and the answer."""
        given = dict(headers or {})
        if user:
            given["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
        connector = aiohttp.TCPConnector(ssl=self.pki.client(issued))
        async with aiohttp.ClientSession(connector=connector) as session:
            url = f"https://127.0.0.1:{self.port}/gantry/1/{path}"
            method = "GET" if body is None else "POST"
            async with session.request(method, url, json=body, headers=given) as answer:
                return answer.status, json.loads(await answer.read())


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Secured]:
    queue = FakeQueue(entities(2))
    pki = Pki(tmp_path / "pki")
    users = tmp_path / "users"
    users.write_text(f"# people\nreader {hashed('one')} read\n\nwriter {hashed('two')} write\n")
    app = build(queue, FakeServices(), Users(users))
    server = await Server.start(
        app, tmp_path / "master.sock", tls=pki.server(), host="127.0.0.1", port=0
    )
    assert server.port
    yield Secured(pki, users, server.port, queue)
    await server.close()


JOB = {"ops": [{"OP_ID": "OP_TEST_DUMMY"}], "request_id": "r"}


async def test_nobody_is_let_in_without_credentials(secured: Secured) -> None:
    for path in ("version", "info", "query/instance", "nonsense"):
        status, answer = await secured.ask(path)
        assert (status, answer["error"]["code"]) == (401, "unauthorized")
    assert (await secured.ask("jobs", body=JOB))[0] == 401
    assert not secured.queue.submissions


async def test_only_joining_is_open_and_needs_its_token(secured: Secured) -> None:
    body = {"secret": "wrong", "csr": "CSR", "address": "127.1.0.4", "port": 1811}
    status, answer = await secured.ask("join", body=body)
    assert (status, "token" in answer["error"]["message"]) == (409, True)
    assert (await secured.ask("join"))[0] == 401
    assert (await secured.ask("tokens", body={"name": "node4"}))[0] == 401


async def test_the_certificate_of_the_authority_is_for_everybody(secured: Secured) -> None:
    connector = aiohttp.TCPConnector(ssl=secured.pki.client())
    url = f"https://127.0.0.1:{secured.port}/gantry/1/ca"
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(url) as answer,
    ):
        assert (answer.status, (await answer.text())[:10]) == (200, "-----BEGIN")


async def test_a_client_certificate_of_the_cluster_may_do_everything(secured: Secured) -> None:
    client = secured.pki.authority.issue_client("ann", time.time())
    assert (await secured.ask("info", client))[0] == 200
    assert await secured.ask("jobs", client, body=JOB) == (200, {"job": 1})
    assert secured.queue.submissions[0].requester == "ann"


async def test_certificates_of_masters_and_of_other_clusters_do_not_count(
    secured: Secured, tmp_path: Path
) -> None:
    now = time.time()
    assert (await secured.ask("info", secured.pki.authority.issue_master(now)))[0] == 401
    stranger = Pki(tmp_path / "other").authority.issue_client("eve", now)
    with pytest.raises(aiohttp.ClientError):
        await secured.ask("info", stranger)


async def test_a_certificate_that_names_another_cluster_does_not_count(
    secured: Secured, tmp_path: Path
) -> None:
    secured.queue.put(msgspec.structs.replace(secured.queue.cluster.cluster, uuid=OTHER))
    client = secured.pki.authority.issue_client("ann", time.time())
    assert (await secured.ask("info", client))[0] == 401


async def test_an_expired_certificate_is_refused(secured: Secured) -> None:
    long_ago = time.time() - 6 * 365 * 86400
    client = secured.pki.authority.issue_client("ann", long_ago)
    with pytest.raises(aiohttp.ClientError):
        await secured.ask("info", client)


async def test_users_read_or_write_as_the_file_says(secured: Secured) -> None:
    assert (await secured.ask("info", user="reader:one"))[0] == 200
    status, answer = await secured.ask("jobs", user="reader:one", body=JOB)
    assert (status, answer["error"]["code"]) == (403, "forbidden")
    assert (await secured.ask("instances/x/console", user="reader:one"))[0] == 403
    # A definition runs as root on the nodes.
    for pushed in ("os/bundles", "hooks/bundles"):
        version = {"packed": "", **({"name": "mine"} if pushed.startswith("os") else {})}
        assert (await secured.ask(pushed, user="reader:one", body=version))[0] == 403
    assert (await secured.ask("jobs", user="writer:two", body=JOB))[0] == 200


@pytest.mark.parametrize("user", ["reader:two", "nobody:one", "reader", ":", "reader:", "x" * 5000])
async def test_wrong_passwords_and_unknown_users_look_the_same(secured: Secured, user: str) -> None:
    status, answer = await secured.ask("info", user=user)
    assert (status, answer) == await secured.ask("info", user="somebody:else")
    assert status == 401


@pytest.mark.parametrize("header", ["Basic", "Basic %%%", "Basic /w==", "Bearer x", "Basic é"])
async def test_headers_that_are_none_are_refused(secured: Secured, header: str) -> None:
    assert (await secured.ask("info", headers={"Authorization": header}))[0] == 401


async def test_a_password_is_checked_once_and_forgotten_with_the_file(secured: Secured) -> None:
    assert (await secured.ask("info", user="reader:one"))[0] == 200
    begin = time.perf_counter()
    for _ in range(3):
        assert (await secured.ask("info", user="reader:one"))[0] == 200
    assert time.perf_counter() - begin < 3
    secured.users.write_text(f"reader {hashed('new')} write\n")
    assert (await secured.ask("info", user="reader:one"))[0] == 401
    assert (await secured.ask("jobs", user="reader:new", body=JOB))[0] == 200
    secured.users.unlink()
    assert (await secured.ask("info", user="reader:new"))[0] == 401


async def test_a_form_of_a_foreign_page_is_no_job(secured: Secured) -> None:
    headers = {"Content-Type": "text/plain"}
    status, answer = await secured.ask("jobs", user="writer:two", body=JOB, headers=headers)
    assert status == 400
    assert "application/json" in answer["error"]["message"]


async def test_the_socket_is_for_owner_and_group_only(api: Api) -> None:
    found = api.path.stat()
    assert stat.S_ISSOCK(found.st_mode)
    assert stat.S_IMODE(found.st_mode) == 0o660
    await api.server.close()
    assert not api.path.exists()


async def test_a_socket_that_was_left_lying_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run/master.sock"
    first = await Server.start(build(FakeQueue(entities(1)), FakeServices()), path)
    second = await Server.start(build(FakeQueue(entities(1)), FakeServices()), path)
    await first.close()
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET /gantry/1/version HTTP/1.0\r\nHost: x\r\n\r\n")
    assert b"200 OK" in await reader.read()
    writer.close()
    await second.close()


async def test_an_address_in_use_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    taken = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    path = tmp_path / "master.sock"
    with pytest.raises(OperationFailed, match="cannot listen"):
        await Server.start(
            build(FakeQueue(entities(1)), FakeServices()),
            path,
            tls=Pki(tmp_path / "pki").server(),
            host="127.0.0.1",
            port=port,
        )
    assert not path.exists()
    taken.close()
    await taken.wait_closed()
