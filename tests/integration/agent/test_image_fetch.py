"""Servers that hold back what they have, that never end, and that send elsewhere."""

from __future__ import annotations

import contextlib
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
from tests.support.addresses import own_address

from gantry.agent import image_fetch
from gantry.agent.image_fetch import Fetcher
from gantry.host import command, own_addresses
from gantry.host.limits import Limits
from gantry.model import timeouts
from gantry.model.errors import OperationFailed, Reason

MIB = 1 << 20
CONTENT = b"an image" + bytes(MIB - 8)


class Handler(BaseHTTPRequestHandler):
    """What is asked for says how it answers."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[tuple[str, str]]] = []
    authorized: ClassVar[list[tuple[str, str]]] = []

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            return

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_HEAD(self) -> None:
        self.asked.append(("HEAD", self.path))
        if self.path.startswith("/no-head"):
            self.answer(405, {})
        elif self.path.startswith("/silent"):
            self.close_connection = True
        else:
            self.answered()

    def do_GET(self) -> None:
        self.asked.append(("GET", self.path))
        who = self.headers.get("Authorization", "")
        self.authorized.append((self.path, who))
        part = self.headers.get("Range")
        if self.path == "/no-head/ranges" and part:
            first, last = map(int, part.removeprefix("bytes=").split("-"))
            body = CONTENT[first : last + 1]
            self.answer(206, {"Content-Range": f"bytes {first}-{last}/{MIB}"}, body)
        else:
            self.answered()

    def answered(self) -> None:
        where = self.path.partition("?")[2]
        if self.path.startswith("/to?"):
            self.answer(302, {"Location": where}, b"it has moved")
        elif self.path == "/nowhere":
            self.answer(302, {}, b"it has moved")
        elif self.path == "/turns":
            self.answer(302, {"Location": "/turns"})
        elif self.path == "/still":
            self.answer(200, {"Content-Length": str(MIB)}, b"the beginning")
            self.rfile.read(1)  # nothing comes: it is gone
            self.close_connection = True
        elif self.path.endswith("/endless"):
            self.endless()
        elif self.path.startswith("/large"):
            self.answer(200, {"Content-Length": str(1 << 40)}, b"x" * 4096)
            self.close_connection = True
        else:
            self.answer(200, {}, CONTENT)

    def answer(self, code: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def endless(self) -> None:
        """Without a length: it ends when nobody reads it any more."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        piece = b"%x\r\n%b\r\n" % (MIB, bytes(MIB))
        while self.command == "GET":
            self.wfile.write(piece)


@contextlib.contextmanager
def serving(certificate: Path | None = None) -> Iterator[str]:
    """The URL of a server, with TLS where there is a certificate."""
    address = own_address()
    with ThreadingHTTPServer((address, 0), Handler) as made:
        made.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certify(certificate, address)
            context.load_cert_chain(certificate)
            made.socket = context.wrap_socket(made.socket, server_side=True)
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        scheme = "https" if certificate is not None else "http"
        yield f"{scheme}://{address}:{made.server_address[1]}"
        made.shutdown()
        thread.join(10)


def certify(certificate: Path, address: str) -> None:
    """The file becomes a certificate for the address, with its key."""
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj"]
    argv += ["/CN=images", "-addext", f"subjectAltName=IP:{address}"]
    argv += ["-keyout", str(certificate), "-out", f"{certificate}.own"]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    with certificate.open("a") as file:
        file.write(Path(f"{certificate}.own").read_text())


@pytest.fixture
def server() -> Iterator[str]:
    Handler.asked.clear()
    Handler.authorized.clear()
    with serving() as url:
        yield url


async def run(
    argv: list[str], *, timeout: float, stdin: bytes, limits: Limits
) -> command.Completed:
    return await command.run(
        argv, timeout=timeout, stdin=stdin, check=False, on_started=limits.impose
    )


class Node:
    """One node that fetches."""

    def __init__(self, root: Path) -> None:
        self.fetcher = Fetcher(root, "node1", run)
        self.directory = root / image_fetch.DIRECTORY
        self.seen: list[int] = []

    async def look(self, coming: Path) -> None:
        self.seen.append(coming.stat().st_size)

    async def fetched(self, url: str, most: int = 2 * MIB) -> bytes:
        return (await self.fetcher.fetched(url, most, lambda line: None, self.look)).read_bytes()

    async def failure(self, url: str, most: int = 2 * MIB) -> OperationFailed:
        with pytest.raises(OperationFailed) as caught:
            await self.fetched(url, most)
        assert list(self.directory.iterdir()) == [], "nothing of it stays"
        return caught.value


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.mark.parametrize("path", ["/no-head/whole", "/no-head/ranges", "/silent"])
async def test_a_server_that_answers_no_head_is_asked_for_the_first_byte(
    node: Node, server: str, path: str
) -> None:
    told = await node.fetcher.size(server + path)
    # One that sends all of it is not listened to.
    assert told == (MIB if path.endswith("ranges") else 0)
    assert Handler.asked == [("HEAD", path), ("GET", path)]
    assert await node.fetched(server + path) == CONTENT


async def test_what_a_server_says_of_the_size_is_told(node: Node, server: str) -> None:
    assert await node.fetcher.size(f"{server}/image") == MIB
    assert await node.fetcher.size(f"{server}/large") == 1 << 40
    assert await node.fetcher.size(f"{server}/endless") == 0
    assert await node.fetcher.size(f"{server}/no-head/endless") == 0


async def test_no_more_is_fetched_than_fits(node: Node, server: str) -> None:
    error = await node.failure(f"{server}/large")
    assert "is larger than 2 MiB" in error.message
    assert error.reason is Reason.INPUT
    assert node.seen == []


async def test_no_more_is_written_than_fits_where_the_server_does_not_say_how_much_comes(
    node: Node, server: str
) -> None:
    error = await node.failure(f"{server}/endless")
    assert "is larger than 2 MiB" in error.message
    assert node.seen == []
    assert await node.fetched(f"{server}/image", MIB) == CONTENT, "just as large as it may be"
    assert "is larger than 0 MiB" in (await Node(node.directory).failure(server, MIB - 1)).message


async def test_a_server_that_says_nothing_more_is_given_up(
    node: Node, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time is that of all redirects together."""
    monkeypatch.setattr(timeouts, "IMAGE_FETCH", 2.0)
    error = await node.failure(f"{server}/to?/still")
    assert f"node node1 cannot fetch {server}/to: curl took longer than " in error.message
    assert error.node == "node1"


async def test_a_part_of_the_nodes_disk_stays_free(
    node: Node, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = SimpleNamespace(free=image_fetch.RESERVE + MIB // 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    for path in ("/image", "/endless"):
        error = await node.failure(server + path)
        assert "larger than the 0 MiB that there is room for on the node" in error.message
        assert error.reason is Reason.NO_RESOURCES


async def test_what_a_killed_agent_had_begun_to_fetch_goes(node: Node, server: str) -> None:
    node.directory.mkdir(parents=True)
    (node.directory / "0123.new").write_bytes(b"half")
    await node.fetched(f"{server}/image")
    assert [each.suffix for each in node.directory.iterdir()] == [""]


async def test_a_redirect_of_the_same_server_is_followed_with_who_we_are(
    node: Node, server: str
) -> None:
    url = server.replace("//", "//me:pass@")
    assert await node.fetched(f"{url}/to?/image") == CONTENT
    assert await node.fetcher.size(f"{url}/to?/image") == MIB
    asked = [(path, bool(who)) for path, who in Handler.authorized]
    assert asked == [("/to?/image", True), ("/image", True)]
    assert node.seen == [MIB], "what came with the redirect is no image"


async def test_a_redirect_to_the_node_itself_is_refused(node: Node, server: str) -> None:
    """What answers there would be in a guest's disk, and the operator named another server."""
    port = server.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "2130706433", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]"):
        target = f"http://{host}:{port}/image"
        error = await node.failure(f"{server}/to?{target}")
        # curl itself reads the number as what it means.
        plain = target.replace("2130706433", "127.0.0.1")
        assert f"it redirects to {plain}, at " in error.message
        assert "an address of node node1 itself" in error.message
        with pytest.raises(OperationFailed, match="of node node1 itself"):
            await node.fetcher.size(f"{server}/to?{target}")
    # Clouds tell machines their secrets there.
    error = await node.failure(f"{server}/to?http://169.254.169.254/latest")
    assert "an address of node node1 itself" in error.message


async def test_a_redirect_to_another_server_is_followed_to_the_address_that_was_looked_at(
    node: Node, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_addresses, "is_own", lambda address: False)
    address, _, port = server.removeprefix("http://").partition(":")
    loop_lookup = {"images.example.com": address}

    async def known(_self: object, host: str, port: int, **_more: object) -> list[object]:
        return [(0, 0, 0, "", (loop_lookup[host], port))]

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.getaddrinfo", known)
    url = server.replace("//", "//me:pass@")
    target = f"http://images.example.com:{port}/image"
    assert await node.fetched(f"{url}/to?{target}") == CONTENT
    assert [(path, bool(who)) for path, who in Handler.authorized][1] == ("/image", False)


async def test_a_redirect_leads_from_https_to_https_alone(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = tmp_path / "certificate"
    trusting = {**command.ENVIRONMENT, "CURL_CA_BUNDLE": f"{certificate}.own"}
    node = Node(tmp_path)
    monkeypatch.setattr(command, "ENVIRONMENT", trusting)
    with serving(certificate) as secured:
        error = await node.failure(f"{secured}/to?{server}/image")
        assert f"it redirects to {server}/image, which is not encrypted" in error.message
        with pytest.raises(OperationFailed, match="which is not encrypted"):
            await node.fetcher.size(f"{secured}/to?{server}/image")
        assert [path for _, path in Handler.asked if path == "/image"] == []
        assert await node.fetched(f"{secured}/to?{secured}/image") == CONTENT


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/turns", "it redirects more than 10 times"),
        ("/nowhere", "its server answers with 302 and no new place"),
        ("/to?file:///etc/passwd", "it redirects to 'file:///etc/passwd'"),
        ("/to?ftp://192.0.2.1/image", "it redirects to 'ftp://192.0.2.1/image'"),
        ("/to?http://a@192.0.2.1/image", "it redirects to "),
    ],
)
async def test_a_redirect_that_leads_to_nothing_is_told(
    node: Node, server: str, path: str, why: str
) -> None:
    error = await node.failure(server + path)
    assert error.message.startswith(f"node node1 cannot fetch {server}/")
    assert why in error.message


async def test_what_is_kept_is_as_new_as_the_servers(node: Node, server: str) -> None:
    """A server that does not say how new it is sends it each time."""
    await node.fetched(f"{server}/image")
    [kept] = node.directory.iterdir()
    os.truncate(kept, 5)
    assert await node.fetched(f"{server}/image") == CONTENT
