"""What fetches and writes an image ends with its agent's successor, and is then done anew."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.contract.agents.requests import disk, envelope
from tests.support.addresses import own_address
from tests.support.agent_process import AgentProcess, TestAuthority, new_uuid
from tests.support.processes import called

from gantry.host.daemon import identity
from gantry.model.errors import Unavailable
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


async def written(master: HttpAgents, node: AgentProcess, order: ImageWrite) -> bytes:
    await master.order(node.address, envelope("j/image", timeout=60.0, lease=60.0), order)
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


class Wrapped(AgentProcess):
    """Its qemu-img writes down its number, and waits for ever if so told."""

    @property
    def programs(self) -> Path:
        return self.root.parent / "programs"

    def _spawn(self, inherited: int) -> subprocess.Popen[bytes]:
        over = f'mount --bind {self.programs} /usr/local/sbin && exec "$@"'
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", over, "sh"]
        argv += [*self._started(inherited)]
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        return subprocess.Popen(argv, pass_fds=[inherited], env=environment)

    def wrap(self) -> None:
        self.programs.mkdir()
        wrapper = self.programs / "qemu-img"
        wrapper.write_text(
            "#!/bin/sh\n"
            f'[ -e "{self.programs}/slow" ] && echo $$ > "{self.programs}/slow" && exec sleep 300\n'
            'exec /usr/bin/qemu-img "$@"\n'
        )
        wrapper.chmod(0o755)


@pytest.fixture
async def wrapped(tmp_path: Path, ca: TestAuthority) -> AsyncIterator[Wrapped]:
    made = Wrapped(tmp_path, ca)
    made.wrap()
    await made.start()
    yield made
    await made.close()


@pytest.mark.root
async def test_the_writing_ends_with_its_agent(
    wrapped: Wrapped, master: HttpAgents, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.write_bytes(CONTENT)
    order = image_write(image)
    await master.order(wrapped.address, envelope("j/make"), DiskCreate(disk=order.disk))
    begun = wrapped.programs / "slow"
    os.mkfifo(begun)
    writing = asyncio.ensure_future(written(master, wrapped, order))
    pid = int(await asyncio.to_thread(begun.read_text))
    begun.unlink()
    await wrapped.kill()
    with pytest.raises(Unavailable):
        await writing
    assert identity(pid) is not None, "it is a process of its own"
    await wrapped.start()
    assert identity(pid) is None
    assert (await written(master, wrapped, order))[:MIB] == CONTENT
