"""Commands on nodes without the master: whom they ask, over real TLS, and what they may do."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.fakes.cluster import CLUSTER, entities, instance, node_uuid
from tests.fakes.queue import FakeQueue
from tests.fakes.services import FakeServices
from tests.integration.cli.conftest import guest, live
from tests.integration.cli.test_terminal import PROGRAM

from gantry.api.app import build
from gantry.api.serve import Server
from gantry.client import paths, remote
from gantry.client.connection import Connection
from gantry.client.errors import ApiError, MasterDown, MasterLost, NoAccess, NotMaster
from gantry.client.jobs import submission
from gantry.main import claim
from gantry.model.codec import encode
from gantry.model.entities import Node, key
from gantry.model.errors import Rejected
from gantry.model.names import Uuid
from gantry.pki import files
from gantry.pki.authority import Authority, Issued
from gantry.ports.store import Put
from gantry.rpc.certificates import Files, api_context
from gantry.store import backup
from gantry.store.sqlite import open_sqlite

FIRST, SECOND = "127.0.0.1", "127.0.0.2"
SECRET = "hunter2"
STRANGER = Uuid("99999999-0000-4000-8000-000000000009")


class Site:
    """A cluster's authority, its masters' APIs, and the files of node 2 and node 3."""

    def __init__(self, directory: Path, queue: FakeQueue) -> None:
        self.directory = directory
        self.queue = queue
        self.services = FakeServices()
        self.authority = Authority.create(CLUSTER, "cluster.example.com", time.time())
        self.servers: list[Server] = []
        self.port = 0

    def keep(self, root: Path, name: str, issued: Issued) -> Files:
        files.write(files.certificate(root, files.CA), self.authority.certificate)
        files.write(files.certificate(root, name), issued.certificate)
        files.write(files.key(root, name), issued.key)
        return Files(
            ca=files.certificate(root, files.CA),
            certificate=files.certificate(root, name),
            key=files.key(root, name),
        )

    async def master(self, host: str, now: float | None = None) -> Server:
        """A master that serves there, on the cluster's port, with a certificate of ``now``."""
        root = self.directory / host
        issued = self.authority.issue_api([host], now or time.time())
        kept = self.keep(root, files.API, issued)
        server = await Server.start(
            build(self.queue, self.services),
            root / "master.sock",
            tls=api_context(kept),
            host=host,
            port=self.port,
        )
        assert server.port
        self.port = server.port
        self.servers.append(server)
        return server

    def node(self, number: int, *, uuid: Uuid | None = None, now: float | None = None) -> Path:
        """The root of a node whose last master was node 1, with node 2 as a candidate."""
        root = self.directory / f"node{number}"
        name, uuid = f"node{number}.example.com", uuid or node_uuid(number)
        self.keep(root, files.NODE, self.authority.issue_node(uuid, name, now or time.time()))
        about = {"cluster": CLUSTER, "node": uuid, "name": name, "host": "x", "port": 1811}
        (root / "etc/gantry/agent.json").write_text(json.dumps(about))
        self.told(root)
        return root

    def told(self, root: Path) -> None:
        directory = root / "var/lib/ganeti"
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in {
            "master_node": "node1.example.com\n",
            "master_ip": f"{FIRST}\n",
            "master_candidates": "node1.example.com\nnode2.example.com\n",
            "master_candidates_ips": f"{FIRST}\n{SECOND}\n",
            "gantry_api_port": f"{self.port}\n",
        }.items():
            (directory / f"ssconf_{name}").write_text(text)

    def change(self, number: int, **changes: Any) -> None:
        node: Node = self.queue.cluster.nodes[node_uuid(number)]
        self.queue.put(msgspec.structs.replace(node, **changes))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path, FakeQueue([*entities(3), instance(1)]))
    made.change(3, master_candidate=False)
    await made.master(FIRST)
    yield made
    for server in made.servers:
        await server.close()


async def get(root: Path, path: str, **query: str) -> Any:
    return await asyncio.to_thread(Connection(str(root)).get, path, **query)


async def submit(root: Path) -> Any:
    body = submission([{"OP_ID": "OP_TEST_DUMMY"}])
    return await asyncio.to_thread(Connection(str(root)).post, "jobs", body)


async def test_a_node_that_is_no_candidate_reads_and_does_not_write(site: Site) -> None:
    root = site.node(3)
    connection = Connection(str(root))
    found = await asyncio.to_thread(connection.get, "info")
    assert found["name"] == "cluster.example.com"
    assert connection.peer is not None
    assert (connection.peer.name, connection.peer.host) == ("node1.example.com", FIRST)
    with pytest.raises(ApiError, match="no master candidate") as refused:
        await submit(root)
    assert refused.value.code == "forbidden"
    assert "gnt-node modify -C yes node3.example.com" in refused.value.hint
    with pytest.raises(ApiError, match="no master candidate"):
        await get(root, "instances/web1.example.com/console")
    assert not site.queue.submissions


async def test_a_candidate_writes_and_is_named(site: Site) -> None:
    assert await submit(site.node(2)) == {"job": 1}
    assert site.queue.submissions[0].requester == "node:node2.example.com"


async def test_a_candidate_that_is_offline_only_reads(site: Site) -> None:
    site.change(2, offline=True)
    root = site.node(2)
    assert (await get(root, "version"))["api"] == 1
    with pytest.raises(ApiError, match="is marked offline"):
        await submit(root)


async def test_a_machine_that_is_no_node_is_told_how_to_become_one(site: Site) -> None:
    with pytest.raises(ApiError, match="not a node of the cluster") as refused:
        await get(site.node(4, uuid=STRANGER), "version")
    assert (refused.value.code, "gnt-node add" in refused.value.hint) == ("unauthorized", True)


async def test_an_expired_certificate_is_refused_in_words(site: Site) -> None:
    long_ago = time.time() - 6 * 365 * 86400
    with pytest.raises(ApiError, match="your certificate expired at") as refused:
        await get(site.node(2, now=long_ago), "version")
    assert "gantry join" in refused.value.hint


async def test_a_master_whose_certificate_has_expired_is_told(site: Site) -> None:
    await site.servers[0].close()
    await site.master(SECOND, time.time() - 6 * 365 * 86400)
    with pytest.raises(NotMaster, match="certificate has expired") as told:
        await get(site.node(3), "version")
    assert f"node2.example.com ({SECOND} port" in told.value.message
    assert "gantry renew-certificates" in told.value.message


async def test_a_certificate_of_another_authority_opens_nothing(site: Site) -> None:
    root = site.node(2)
    foreign = Authority.create(CLUSTER, "cluster.example.com", time.time())
    issued = foreign.issue_node(node_uuid(2), "node2.example.com", time.time())
    files.write(files.certificate(root, files.NODE), issued.certificate)
    files.write(files.key(root, files.NODE), issued.key)
    with pytest.raises(MasterLost):
        await submit(root)
    assert not site.queue.submissions


async def test_candidates_are_asked_where_the_last_master_is_gone(site: Site) -> None:
    root = site.node(3)
    await site.master(SECOND)
    await site.servers[0].close()
    connection = Connection(str(root))
    assert (await asyncio.to_thread(connection.get, "version"))["api"] == 1
    assert connection.peer is not None
    assert connection.peer.name == "node2.example.com"


async def test_nobody_there_is_told_with_all_who_were_asked(site: Site) -> None:
    root = site.node(3)
    await site.servers[0].close()
    with pytest.raises(NotMaster) as told:
        await get(root, "version")
    assert told.value.master == "node1.example.com"
    for words in (f"node1.example.com ({FIRST} port", f"node2.example.com ({SECOND} port"):
        assert words in told.value.message
    assert told.value.message.count("refused") == 2


async def test_a_command_in_a_hook_waits_for_the_master_that_its_job_has(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = site.node(3)
    await site.servers[0].close()
    monkeypatch.setenv("GANTRY_JOB", "7")
    monkeypatch.setattr("gantry.model.timeouts.MASTER_LOOK", 0.05)
    asking = asyncio.create_task(get(root, "version"))
    done, _ = await asyncio.wait([asking], timeout=0.2)
    assert not done, "it has not given up"
    await site.master(SECOND)
    assert (await asking)["api"] == 1
    await site.servers[1].close()
    monkeypatch.setattr("gantry.model.timeouts.MASTER_INSIST", 0.1)
    with pytest.raises(NotMaster):
        await get(root, "version")


def taken_over(root: Path, lease: str) -> None:
    """What a master writes onto nodes whose cluster has others that take over."""
    (root / "var/lib/ganeti/ssconf_gantry_master_lease").write_text(lease)


async def test_a_command_waits_for_the_candidate_that_takes_over(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = site.node(2)
    (root / "var/lib/ganeti/ssconf_master_candidates_ips").write_text(f"{SECOND}\n{FIRST}\n")
    (root / "var/lib/ganeti/ssconf_master_candidates").write_text("node3\nnode2.example.com\n")
    taken_over(root, "5\n")
    await site.servers[0].close()
    monkeypatch.delenv("GANTRY_JOB", raising=False)
    monkeypatch.setattr("gantry.model.timeouts.MASTER_LOOK", 0.05)
    monkeypatch.setattr("gantry.client.remote._SILENT", 0.1)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    asking = asyncio.create_task(submit(root))
    done, _ = await asyncio.wait([asking], timeout=0.5)
    assert not done, "it has not given up"
    await site.master(SECOND)
    assert await asking == {"job": 1}
    assert len(site.queue.submissions) == 1
    said = capsys.readouterr().err
    assert said == "no master answers; waiting up to 10 s for another to take over\n"


async def test_a_command_that_waited_in_vain_says_so(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = site.node(3)
    taken_over(root, "0\n")
    await site.servers[0].close()
    monkeypatch.delenv("GANTRY_JOB", raising=False)
    monkeypatch.setattr("gantry.model.timeouts.MASTER_TAKEOVER", 1.0)
    began = time.monotonic()
    with pytest.raises(NotMaster) as told:
        await get(root, "version")
    assert time.monotonic() - began >= 1.0
    assert told.value.info()["message"].endswith("nor has another taken over within 1 s")
    assert capsys.readouterr().err == "", "a script hears of it at the end"


@pytest.mark.parametrize("why", ["a state in a file", "no other candidate", "no patience"])
async def test_a_command_for_which_nobody_takes_over_fails_at_once(
    site: Site, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    root = site.node(3)
    taken_over(root, "" if why == "a state in a file" else "60\n")
    if why == "no other candidate":
        (root / "var/lib/ganeti/ssconf_master_candidates").write_text("node1.example.com\n")
    if why == "no patience":
        monkeypatch.setenv("GANTRY_PATIENCE", "0")
    await site.servers[0].close()
    monkeypatch.delenv("GANTRY_JOB", raising=False)
    async with asyncio.timeout(50):
        with pytest.raises(NotMaster) as told:
            await get(root, "version")
    assert "taken over" not in told.value.message


async def test_the_last_master_itself_asks_the_others_too(site: Site) -> None:
    root = site.node(1)
    (root / "var/lib/ganeti/ssconf_master_candidates_ips").write_text(f"{SECOND}\n{FIRST}\n")
    (root / "var/lib/ganeti/ssconf_master_candidates").write_text("x\nnode2.example.com\n")
    assert (await get(root, "version"))["api"] == 1
    await site.servers[0].close()
    with pytest.raises(MasterDown, match="nor is another node the master") as told:
        await get(root, "version")
    assert "start it" in told.value.hint


class Impostor:
    """Whatever speaks TLS at an address; what it is sent after the handshake is in ``heard``."""

    def __init__(self, context: ssl.SSLContext, host: str, port: int) -> None:
        self.heard = b""
        self._context = context
        self._listening = socket.create_server((host, port))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        plain, _ = self._listening.accept()
        with plain, self._context.wrap_socket(plain, server_side=True) as secured:
            secured.settimeout(10)
            self.heard = secured.recv(4096)

    def close(self) -> None:
        self._thread.join(100)
        self._listening.close()


@pytest.fixture
def impostor(site: Site) -> Iterator[Impostor]:
    """Node 2, broken into, at the place of a master."""
    issued = site.authority.issue_node(node_uuid(2), "node2.example.com", time.time())
    kept = site.keep(site.directory / "broken", files.NODE, issued)
    made = Impostor(api_context(kept), SECOND, site.port)
    yield made
    made.close()


async def test_a_node_at_the_masters_place_is_sent_nothing(site: Site, impostor: Impostor) -> None:
    root = site.node(3)
    await site.servers[0].close()
    with pytest.raises(NotMaster, match="is not the master of this cluster"):
        await submit(root)
    await asyncio.to_thread(impostor.close)
    assert impostor.heard == b""


async def test_a_master_of_another_cluster_is_not_asked(site: Site) -> None:
    root = site.node(3)
    about = json.loads((root / "etc/gantry/agent.json").read_text())
    (root / "etc/gantry/agent.json").write_text(json.dumps({**about, "cluster": STRANGER}))
    with pytest.raises(NotMaster, match="is not the master of this cluster"):
        await get(root, "version")


async def test_lines_and_a_long_wait_come_over_the_wire(site: Site) -> None:
    root = site.node(2)
    connection = Connection(str(root))
    stream = await asyncio.to_thread(
        connection.stream, "POST", "jobs?follow=1", submission([{"OP_ID": "X"}])
    )
    assert await asyncio.to_thread(next, stream) == {"job": 1}
    await site.queue.say(site.queue.jobs()[0].id, "a line")
    told = await asyncio.to_thread(next, stream)
    while not told.get("entries"):
        told = await asyncio.to_thread(next, stream)
    assert told["entries"][0]["text"] == "a line"
    waiting = asyncio.create_task(get(root, "jobs/1/wait"))
    await site.queue.end(site.queue.jobs()[0].id)
    assert (await waiting)["status"] == "success"
    assert (await asyncio.to_thread(list, stream))[-1]["job"]["status"] == "success"


async def console(root: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-c", PROGRAM, "gnt-instance", "console", "web1"),
        env={**os.environ, "GANTRY_ROOT": str(root)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_console_comes_over_the_wire(site: Site) -> None:
    site.queue.set_live(node_uuid(1), live(guest(1)))
    process = await console(site.node(2))
    async with asyncio.timeout(50):
        await site.services.attached.wait()
        attached = site.services.consoles[0][2]
        attached.say(b"login: ")
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(b"root")
        assert await process.stdout.readexactly(len(b"login: ROOT")) == b"login: ROOT"
        attached.end()
        out, complaint = await process.communicate()
    assert (process.returncode, out, complaint) == (0, b"", b"")
    refused = await console(site.node(3))
    async with asyncio.timeout(50):
        _, complaint = await refused.communicate()
    assert refused.returncode == 1
    assert b"node3.example.com is no master candidate" in complaint


async def test_a_master_here_that_hangs_is_passed_over(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = site.node(2)
    path = Path(paths.socket_path(str(root)))
    path.parent.mkdir(parents=True)
    connection = Connection(str(root))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(5)
        monkeypatch.setattr("gantry.model.timeouts.CLIENT_READ", 0.05)
        with pytest.raises(MasterLost, match="in time"):
            await asyncio.to_thread(connection.post, "jobs/archive", {"age": 0})
        monkeypatch.setattr("gantry.model.timeouts.CLIENT_READ", 5)
        assert (await asyncio.to_thread(connection.get, "version"))["api"] == 1
        monkeypatch.setattr("gantry.model.timeouts.CLIENT_READ", 2)
        other = Connection(str(root))
        assert (await asyncio.to_thread(other.get, "version"))["api"] == 1
        await site.servers[0].close()
        with pytest.raises(MasterLost, match="in time"):
            await asyncio.to_thread(other.get, "version")


async def test_what_a_node_reads_has_no_secrets(site: Site) -> None:
    root = site.node(3)
    hidden: dict[str, Any] = {"osparams_private": {"password": SECRET}}
    site.queue.put(
        msgspec.structs.replace(
            site.queue.cluster.cluster, osparams_private={"noop": {"password": SECRET}}
        ),
        instance(1, **hidden),
    )
    await asyncio.to_thread(
        Connection(str(site.node(2))).post, "jobs", submission([{"OP_ID": "X", **hidden}])
    )
    for path in (
        "info", "instances/web1", "nodes/node1", "os", "locks", "jobs/1", "jobs/1/log",
        "query/instance?fields=name,custom_osparams,osparams", "query/job?fields=id,ops",
        "query/node", "query/group", "tags/cluster",
    ):  # fmt: skip
        try:
            assert SECRET not in json.dumps(await get(root, path)), path
        except ApiError as error:
            assert error.code in ("unknown-field", "no-such-resource"), (path, error)
    for path in ("tokens", "state/backup", "jobs/archive"):
        with pytest.raises(ApiError) as refused:
            await asyncio.to_thread(Connection(str(root)).post, path, {})
        assert refused.value.code == "forbidden"


@pytest.mark.root
async def test_who_may_not_use_the_nodes_key_is_told_whom_to_be(site: Site) -> None:
    root = site.node(3)
    for place in (site.directory, *site.directory.parents):
        if str(place).startswith("/tmp/pytest-of-"):
            place.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(NoAccess, match="you may not read") as told:
            remote.context(str(root))
    finally:
        os.seteuid(0)
    assert "be root" in told.value.hint


async def test_a_machine_that_has_only_joined_says_so(site: Site) -> None:
    root = site.node(4, uuid=STRANGER)
    for file in (root / "var/lib/ganeti").iterdir():
        file.unlink()
    with pytest.raises(NotMaster, match="has joined") as told:
        await get(root, "version")
    assert "gnt-node add node4.example.com" in told.value.hint


async def test_no_copy_of_the_state_is_brought_back_while_a_master_answers_anywhere(
    site: Site, tmp_path: Path
) -> None:
    root = site.node(2)
    store = await open_sqlite(tmp_path / "state", create=True)
    for entity in entities(3):
        await store.txn([], [Put(key(entity), encode(entity))])
    await store.close()
    made = backup.backup(tmp_path / "state", tmp_path / "copies", datetime.now(UTC))
    with pytest.raises(Rejected, match="on node1"):
        await asyncio.to_thread(claim.check, root, made.file)
    await site.servers[0].close()
    await asyncio.to_thread(claim.check, root, made.file)
