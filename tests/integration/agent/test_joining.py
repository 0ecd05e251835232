"""A machine joins with a token, over a real connection to something that serves the API's part."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from tests.support.agent_process import TestAuthority, free_port, new_uuid

from gantry.agent import configuration
from gantry.agent import joining as machine
from gantry.model.errors import GantryError, Rejected, Unavailable
from gantry.pki import files, joining, tokens
from gantry.pki.authority import Issued


class Api:
    """What the master's API does when a machine joins."""

    def __init__(self, ca: TestAuthority) -> None:
        self.ca = ca
        self.node = new_uuid()
        self.port = free_port("127.0.0.1")
        self.address = f"127.0.0.1:{self.port}"
        self.known: dict[str, str] = {}
        self.requests: list[bytes] = []

    def token(self, name: str, **changes: Any) -> str:
        made = tokens.create(self.address, self.ca.authority.fingerprint, os.urandom(32))
        self.known[tokens.secret_hash(made.secret)] = name
        return tokens.encode(msgspec.structs.replace(made, **changes))

    async def get_ca(self, request: web.Request) -> web.Response:
        return web.Response(text=self.ca.authority.certificate)

    async def post_join(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.requests.append(body)
        try:
            asked = msgspec.json.decode(body, type=joining.JoinRequest)
            joining.check(asked)
            name = self.known.pop(tokens.secret_hash(asked.secret), None)
            if name is None:
                raise Rejected("the token is not valid")
        except GantryError as error:
            data = msgspec.json.encode({"error": error.info()})
            return web.Response(status=400, body=data)
        bundle = joining.accept(
            self.ca.authority,
            asked,
            node=self.node,
            name=name,
            cluster_name="cluster.example.com",
            now=time.time(),
        )
        return web.Response(body=msgspec.json.encode(bundle))


@contextlib.asynccontextmanager
async def serving(api: Api, issued: Issued) -> AsyncIterator[None]:
    shown = api.ca.files("api", issued)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(shown.certificate, shown.key)
    application = web.Application()
    application.router.add_get("/gantry/1/ca", api.get_ca)
    application.router.add_post("/gantry/1/join", api.post_join)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", api.port, ssl_context=tls).start()
    yield
    await runner.cleanup()


@pytest.fixture
async def api(ca: TestAuthority) -> AsyncIterator[Api]:
    made = Api(ca)
    issued = ca.authority.issue_api(["localhost", "127.0.0.1"], time.time())
    async with serving(made, issued):
        yield made


async def joined(root: Path, token: str) -> machine.JoinResult:
    return await asyncio.to_thread(machine.join, root, token, port=1899)


async def test_a_machine_gets_its_identity_and_its_files(api: Api, tmp_path: Path) -> None:
    root = tmp_path / "machine"
    result = await joined(root, api.token("node7.example.com"))
    assert (result.node, result.name, result.host) == (api.node, "node7.example.com", "127.0.0.1")
    read = configuration.read(root)
    assert (read.node, read.cluster, read.port) == (api.node, api.ca.cluster, 1899)
    for path in files.directory(root).iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert files.directory(root).stat().st_mode & 0o777 == 0o700
    key = files.key(root, files.NODE).read_text()
    assert key not in api.requests[0].decode(), "the key left the machine"


async def test_a_token_works_once(api: Api, tmp_path: Path) -> None:
    token = api.token("node7.example.com")
    await joined(tmp_path / "machine", token)
    with pytest.raises(Rejected, match="not valid"):
        await joined(tmp_path / "thief", token)
    assert not (tmp_path / "thief").exists()


async def test_a_machine_that_joins_again_keeps_its_key(api: Api, tmp_path: Path) -> None:
    root = tmp_path / "machine"
    await joined(root, api.token("node7.example.com"))
    key = files.key(root, files.NODE).read_text()
    await joined(root, api.token("node7.example.com"))
    assert files.key(root, files.NODE).read_text() == key


async def test_a_token_still_works_when_another_node_is_the_master(
    api: Api, tmp_path: Path
) -> None:
    gone = f"127.0.0.2:{api.port}"
    token = api.token("node7.example.com", address=gone, others=(api.address,))
    assert (await joined(tmp_path / "machine", token)).host == "127.0.0.1"
    token = api.token("node8.example.com", address=gone, others=(f"127.0.0.3:{api.port}",))
    with pytest.raises(Unavailable, match="no master answers") as told:
        await joined(tmp_path / "another", token)
    assert "127.0.0.2" in told.value.message
    assert "127.0.0.3" in told.value.message
    assert not (tmp_path / "another").exists()


async def test_the_secret_is_not_sent_to_whoever_has_another_ca(api: Api, tmp_path: Path) -> None:
    token = api.token("node7.example.com", fingerprint="0" * 64)
    with pytest.raises(Rejected, match="not the cluster that the token is of"):
        await joined(tmp_path / "machine", token)
    assert api.requests == []


async def test_the_secret_is_not_sent_to_a_node_that_poses_as_the_api(
    ca: TestAuthority, tmp_path: Path
) -> None:
    api = Api(ca)
    async with serving(api, ca.authority.issue_node(new_uuid(), "node2", time.time())):
        with pytest.raises(Rejected, match="not the cluster's master"):
            await joined(tmp_path / "machine", api.token("node7.example.com"))
    assert api.requests == []


async def test_a_machine_of_another_cluster_does_not_join(
    api: Api, ca: TestAuthority, tmp_path: Path
) -> None:
    root = tmp_path / "machine"
    await joined(root, api.token("node7.example.com"))
    other = Api(TestAuthority(tmp_path / "other"))
    async with serving(other, other.ca.authority.issue_api(["localhost"], time.time())):
        with pytest.raises(Rejected, match="another cluster already"):
            await joined(root, other.token("node7.example.com"))


async def test_an_expired_certificate_of_the_api_is_said(ca: TestAuthority, tmp_path: Path) -> None:
    api = Api(ca)
    old = ca.authority.issue_api(["localhost"], time.time() - 6 * 365 * 86400)
    async with serving(api, old):
        with pytest.raises(Rejected, match="expired") as caught:
            await joined(tmp_path / "machine", api.token("node7.example.com"))
    assert "renew-certificates" in caught.value.hint


async def test_a_master_that_does_not_answer_is_unavailable(
    ca: TestAuthority, tmp_path: Path
) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        await joined(tmp_path / "machine", Api(ca).token("node7.example.com"))
    assert not (tmp_path / "machine").exists()


async def test_a_machine_that_never_joined_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="has not joined") as caught:
        configuration.read(tmp_path)
    assert "gantry join" in caught.value.hint
