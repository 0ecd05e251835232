"""What fetches and writes an image ends with its agent's successor, and is then done anew."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.contract.agents.requests import disk, envelope
from tests.support.addresses import own_address
from tests.support.agent_process import AgentProcess, TestAuthority, new_uuid
from tests.support.processes import called
from tests.support.wrapped_agent import WrappedAgent

from gantry.host.daemon import identity
from gantry.model.errors import OperationFailed, Unavailable
from gantry.model.image_orders import ImageWrite
from gantry.model.orders import DiskCreate
from gantry.rpc.client import HttpAgents

MIB = 1 << 20
CONTENT = b"an image" + bytes(MIB - 8)


class Slow(ThreadingHTTPServer):
    """Answers with half of an image, and with the rest of it when it may."""

    def __init__(self) -> None:
        super().__init__((own_address(), 0), _Handler)
        self.asked = threading.Event()
        self.may_go_on = threading.Event()

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}/image"


class _Handler(BaseHTTPRequestHandler):
    server: Slow

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: MIB // 2])
        self.wfile.flush()
        self.server.asked.set()
        if self.server.may_go_on.wait(100):
            self.wfile.write(CONTENT[MIB // 2 :])

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            return


@pytest.fixture
def slow() -> Iterator[Slow]:
    with Slow() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.may_go_on.set()
        server.shutdown()
        thread.join(10)


def image_write(image: object) -> ImageWrite:
    return ImageWrite(
        disk=disk(size=2), image=str(image), instance=new_uuid(), name="web1.example.com"
    )


async def written(
    master: HttpAgents, node: AgentProcess, order: ImageWrite, key: str = "j/image"
) -> bytes:
    await master.order(node.address, envelope(key, timeout=60.0, lease=60.0), order)
    return (node.root / order.disk.path.lstrip("/")).read_bytes()


async def test_a_download_ends_with_its_agent(
    node: AgentProcess, master: HttpAgents, slow: Slow
) -> None:
    order = image_write(slow.url)
    await master.order(node.address, envelope("j/make"), DiskCreate(disk=order.disk))
    writing = asyncio.ensure_future(written(master, node, order))
    assert await asyncio.to_thread(slow.asked.wait, 60)
    await node.kill()
    with pytest.raises(Unavailable):
        await writing
    assert called("curl", str(node.root)), "it is a process of its own"
    await node.start()
    assert not called("curl", str(node.root))
    slow.may_go_on.set()
    assert (await written(master, node, order))[:MIB] == CONTENT
    assert len(list((node.root / "var/lib/gantry/images").iterdir())) == 1


@pytest.fixture
async def wrapped(tmp_path: Path, ca: TestAuthority) -> AsyncIterator[WrappedAgent]:
    made = WrappedAgent(tmp_path, ca)
    await made.start()
    yield made
    await made.close()


@pytest.mark.root
async def test_the_writing_ends_with_its_agent(
    wrapped: WrappedAgent, master: HttpAgents, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.write_bytes(CONTENT)
    order = image_write(image)
    await master.order(wrapped.address, envelope("j/make"), DiskCreate(disk=order.disk))
    wrapped.hold()
    writing = asyncio.ensure_future(written(master, wrapped, order))
    pid = await wrapped.begun()
    await wrapped.kill()
    with pytest.raises(Unavailable):
        await writing
    assert identity(pid) is not None, "it is a process of its own"
    await wrapped.start()
    assert identity(pid) is None
    assert (await written(master, wrapped, order))[:MIB] == CONTENT


@pytest.mark.root
async def test_an_image_that_changes_while_it_is_written_is_no_image(
    wrapped: WrappedAgent, master: HttpAgents, tmp_path: Path
) -> None:
    """What was looked at is what is written: not what its name leads to by then."""
    image = tmp_path / "image"
    image.write_bytes(CONTENT)
    link = tmp_path / "link"
    link.symlink_to(image)
    order = image_write(link)
    await master.order(wrapped.address, envelope("j/make"), DiskCreate(disk=order.disk))
    wrapped.hold()
    writing = asyncio.ensure_future(written(master, wrapped, order))
    await wrapped.begun()
    with image.open("r+b") as file:
        file.write(b"another!")
    await wrapped.let_go()
    with pytest.raises(OperationFailed, match=f"{link} was changed on node node1 while it was"):
        await writing
    # One that takes its place is the next one's.
    image.write_bytes(CONTENT)
    wrapped.hold()
    writing = asyncio.ensure_future(written(master, wrapped, order, "k/image"))
    await wrapped.begun()
    (tmp_path / "secret").write_bytes(b"a secret")
    link.unlink()
    link.symlink_to(tmp_path / "secret")
    image.unlink()
    await wrapped.let_go()
    assert (await writing)[:MIB] == CONTENT
