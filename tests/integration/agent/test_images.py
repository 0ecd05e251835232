"""Images are written to disks, and fetched from servers no oftener than they change."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.contract.agents.requests import disk, envelope
from tests.support.addresses import own_address
from tests.support.agent_process import AgentProcess, new_uuid

from gantry.model.entities import DiskFormat
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.image_location import without_password
from gantry.model.image_orders import ImageWrite, ReadImage
from gantry.model.orders import DiskCreate, DiskSpec
from gantry.rpc.client import HttpAgents

MIB = 1 << 20
CONTENT = b"an image" + bytes(MIB - 8)


class Server(SimpleHTTPRequestHandler):
    """Serves one directory, and notes down what was asked for and what it answered."""

    answers: list[tuple[str, str, int]]

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        self.answers.append((self.command, self.path, int(code)))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path, list[tuple[str, str, int]]]]:
    """URL, directory, answers."""
    place = tmp_path / "served"
    place.mkdir()
    answers: list[tuple[str, str, int]] = []
    handler = type("Handler", (Server,), {"answers": answers})
    address = own_address()
    server = ThreadingHTTPServer((address, 0), partial(handler, directory=str(place)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://{address}:{server.server_address[1]}", place, answers
    server.shutdown()
    server.server_close()
    thread.join(10)


async def qemu_img(*words: str) -> None:
    argv = ["qemu-img", *words]
    await asyncio.to_thread(lambda: subprocess.run(argv, check=True, capture_output=True))


async def written(
    master: HttpAgents, node: AgentProcess, one: DiskSpec, image: object, key: str = "j/image"
) -> bytes:
    """What a guest would read from the disk afterwards."""
    order = ImageWrite(disk=one, image=str(image), instance=new_uuid(), name="web1.example.com")
    await master.order(node.address, envelope(key, timeout=60.0, lease=60.0), order)
    path = node.root / one.path.lstrip("/")
    plain = path.with_name("plain")
    await qemu_img("convert", "-f", one.format.value, "-O", "raw", str(path), str(plain))
    return plain.read_bytes()


async def made(master: HttpAgents, node: AgentProcess, **changes: Any) -> DiskSpec:
    one = msgspec.structs.replace(disk(size=2), **changes)
    await master.order(node.address, envelope("j/make"), DiskCreate(disk=one))
    return one


@pytest.mark.parametrize("format_of_disk", DiskFormat)
@pytest.mark.parametrize("format_of_image", DiskFormat)
async def test_an_image_is_written_to_the_disk_whatever_its_format(
    node: AgentProcess,
    master: HttpAgents,
    tmp_path: Path,
    format_of_disk: DiskFormat,
    format_of_image: DiskFormat,
) -> None:
    raw, image = tmp_path / "raw", tmp_path / "image"
    raw.write_bytes(CONTENT)
    await qemu_img("convert", "-f", "raw", "-O", format_of_image.value, str(raw), str(image))
    one = await made(master, node, format=format_of_disk)
    if format_of_disk is DiskFormat.RAW:
        # As before a reinstallation.
        (node.root / one.path.lstrip("/")).write_bytes(b"old" * (2 * MIB // 3) + b"ol")
    found = await written(master, node, one, image)
    assert found[:MIB] == CONTENT
    assert len(found) == 2 * MIB
    if format_of_disk is DiskFormat.RAW:
        assert b"old" in found[MIB:], "what is behind the image stays"
    seen = await master.ask(node.address, ReadImage(image=str(image)), 60.0)
    assert seen.size == MIB


async def test_an_image_that_builds_on_another_file_is_refused(
    node: AgentProcess, master: HttpAgents, tmp_path: Path
) -> None:
    secret, image = tmp_path / "secret", tmp_path / "image"
    secret.write_bytes(CONTENT)
    await qemu_img("create", "-f", "qcow2", "-b", str(secret), "-F", "raw", str(image))
    one = await made(master, node)
    with pytest.raises(Rejected, match="builds on another file"):
        await written(master, node, one, image)
    await qemu_img(
        "create", "-f", "qcow2", "-o", f"data_file={tmp_path}/data", str(tmp_path / "x"), "1M"
    )
    with pytest.raises(Rejected, match="builds on another file"):
        await written(master, node, one, tmp_path / "x", "k/image")


async def test_what_is_no_image_is_refused_with_what_to_do(
    node: AgentProcess, master: HttpAgents, tmp_path: Path
) -> None:
    for place in (tmp_path / "none", tmp_path):
        with pytest.raises(Rejected, match=f"{place} cannot be read on node node1") as caught:
            await master.ask(node.address, ReadImage(image=str(place)), 60.0)
        assert "on every node, or a URL" in caught.value.hint
    # Not opened: that would wait for a writer.
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(Rejected, match="it is no regular file"):
            await master.ask(node.address, ReadImage(image=str(place)), 20.0)
    one = await made(master, node)
    (tmp_path / "large").write_bytes(bytes(3 * MIB))
    with pytest.raises(OperationFailed, match="needs 3145728 bytes"):
        await written(master, node, one, tmp_path / "large")


async def test_an_image_is_fetched_once_and_again_when_it_has_changed(
    node: AgentProcess,
    master: HttpAgents,
    served: tuple[str, Path, list[tuple[str, str, int]]],
) -> None:
    url, place, answers = served
    image = place / 'a "b".img'
    image.write_bytes(CONTENT)
    os.utime(image, (1_700_000_000, 1_700_000_000))
    where = f"{url}/a%20%22b%22.img"
    await master.ask(node.address, ReadImage(image=where), 60.0)
    one = await made(master, node)
    assert (await written(master, node, one, where, "j/1"))[:MIB] == CONTENT
    assert (await written(master, node, one, where, "j/2"))[:MIB] == CONTENT
    assert [(how, code) for how, _, code in answers] == [
        ("HEAD", 200), ("GET", 200), ("GET", 304),
    ]  # fmt: skip
    image.write_bytes(b"a newer!" + CONTENT[8:])
    os.utime(image, (1_700_000_100, 1_700_000_100))
    assert (await written(master, node, one, where, "j/3"))[:8] == b"a newer!"
    kept = node.root / "var/lib/gantry/images"
    assert len(list(kept.iterdir())) == 1
    assert kept.stat().st_mode & 0o777 == 0o700


async def test_what_a_server_has_in_place_of_an_image_is_not_kept(
    node: AgentProcess,
    master: HttpAgents,
    served: tuple[str, Path, list[tuple[str, str, int]]],
    tmp_path: Path,
) -> None:
    """Not one moment: another job that uses the same URL could read it."""
    url, place, _ = served
    (tmp_path / "secret").write_bytes(CONTENT)
    image = place / "[a].img"
    await qemu_img("create", "-f", "qcow2", "-b", f"{tmp_path}/secret", "-F", "raw", str(image))
    one = await made(master, node)
    where = f"{url.replace('//', '//me:pass@')}/[a].img"
    with pytest.raises(Rejected, match="builds on another file") as caught:
        await written(master, node, one, where)
    assert "pass" not in str(caught.value)
    assert without_password("http://me:p@ss@host/a@b") == "http://host/a@b"
    assert list((node.root / "var/lib/gantry/images").iterdir()) == []
    image.unlink()
    image.write_bytes(CONTENT)
    assert (await written(master, node, one, where, "j/2"))[:MIB] == CONTENT


async def test_a_server_that_has_it_not_is_told_without_the_password(
    node: AgentProcess,
    master: HttpAgents,
    served: tuple[str, Path, list[tuple[str, str, int]]],
) -> None:
    url = served[0].replace("//", "//me:pass@")
    one = await made(master, node)
    with pytest.raises(OperationFailed, match="cannot fetch http://127") as caught:
        await master.ask(node.address, ReadImage(image=f"{url}/none"), 60.0)
    assert "404" in caught.value.message
    with pytest.raises(OperationFailed, match="cannot fetch http://127") as caught:
        await written(master, node, one, f"{url}/none")
    assert "pass" not in str(caught.value)
    assert list((node.root / "var/lib/gantry/images").iterdir()) == []
