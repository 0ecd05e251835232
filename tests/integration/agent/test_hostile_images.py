"""Images that were made by somebody who means harm, or by mistake."""

from __future__ import annotations

import gzip
import os
import re
import struct
import subprocess
from pathlib import Path

import pytest
from tests.contract.agents.requests import disk, envelope
from tests.support.agent_process import AgentProcess, new_uuid

from gantry.model.errors import GantryError, OperationFailed, Rejected
from gantry.model.image_orders import ImageWrite, ReadImage
from gantry.model.orders import DiskCreate
from gantry.rpc.client import HttpAgents

MIB = 1 << 20


def qemu_img(*words: str) -> None:
    subprocess.run(["qemu-img", *words], check=True, capture_output=True)


def changed(image: Path, offset: int, value: bytes) -> Path:
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(value)
    return image


def sound(image: Path, *words: str) -> Path:
    qemu_img("create", "-f", "qcow2", *words, str(image), "1M")
    return image


DAMAGE = {
    "features": (72, b"\xff"),
    "table": (36, b"\xff" * 4),
    "clusters": (20, b"\0\0\0\x3f"),
    "nothing": (24, b"\xff" * 8),
}
"""Where in the header, and what: features that nobody knows, sizes that cannot be."""


def damaged(image: Path) -> Path:
    return changed(sound(image), *DAMAGE[image.name])


def bad_images(place: Path) -> dict[str, Path]:
    """By what is to be said of them."""
    (place / "secret").write_bytes(b"secret" * 1000)
    # Who opens it waits for ever.
    os.mkfifo(place / "pipe")
    old, raw_data, packed = place / "old", place / "raw-data", place / "packed"
    on_a_secret = ("-b", f"{place}/secret", "-F", "raw")
    qemu_img("create", "-f", "qcow2", "-o", "compat=0.10", *on_a_secret, str(old))
    qemu_img("create", "-f", "qcow2", *on_a_secret, str(place / "backed"))
    sound(raw_data, "-o", f"data_file={place}/data,data_file_raw=on")
    (place / "data").unlink()
    (place / "data").symlink_to(place / "pipe")
    named = changed(sound(place / "named"), 8, struct.pack(">QI", 0x200, 60))
    changed(named, 0x200, b'json:{"driver":"file","filename":"/etc/shadow"}'.ljust(60))
    qemu_img("create", "-f", "qcow", str(place / "first-version"), "1M")
    (place / "short").write_bytes(sound(place / "x").read_bytes()[:40])
    qemu_img("create", "-f", "vmdk", str(place / "vmdk"), "1M")
    packed.write_bytes(gzip.compress(b"image"))
    (place / "page").write_bytes(b"<!doctype HTML><title>Please log in")
    return {
        "backed: it builds on another file": place / "backed",
        "old: it builds on another file": old,
        "raw-data: it builds on another file": raw_data,
        "named: it builds on another file": named,
        "is qcow version 1, not 2 or 3": place / "first-version",
        "is encrypted": changed(sound(place / "encrypted"), 32, b"\0\0\0\2"),
        "is cut off": place / "short",
        "is an image of VMware": place / "vmdk",
        "is packed by gzip": packed,
        "is a web page": place / "page",
        **{
            f"{name} on node node1 is no sound qcow2 image": damaged(place / name)
            for name in DAMAGE
        },
    }


async def test_what_is_no_sound_image_is_refused_before_anything_opens_it(
    node: AgentProcess, master: HttpAgents, tmp_path: Path
) -> None:
    for why, image in bad_images(tmp_path).items():
        what, _, rest = why.partition(": ")
        expected = f"{what} is not whole: {rest}" if rest else why
        with pytest.raises(Rejected, match=re.escape(expected)) as caught:
            await master.ask(node.address, ReadImage(image=str(image)), 60.0)
        assert str(image) in caught.value.message
        assert caught.value.hint
        assert "/dev/fd" not in caught.value.message


async def failure(master: HttpAgents, node: AgentProcess, image: Path, key: str) -> GantryError:
    one = disk(f"/srv/ganeti/file-storage/web1/{key}", size=2)
    await master.order(node.address, envelope(f"{key}/make"), DiskCreate(disk=one))
    order = ImageWrite(disk=one, image=str(image), instance=new_uuid(), name="web1.example.com")
    with pytest.raises(GantryError) as caught:
        await master.order(node.address, envelope(f"{key}/x", timeout=60.0, lease=60.0), order)
    return caught.value


async def test_what_cannot_be_written_is_told_with_the_images_name(
    node: AgentProcess, master: HttpAgents, tmp_path: Path
) -> None:
    large = tmp_path / "large"
    large.touch()
    # Without holes it would fill any disk.
    os.truncate(large, 1 << 42)
    assert "needs 4398046511104 bytes" in (await failure(master, node, large, "a")).message
    qemu_img("create", "-f", "qcow2", str(tmp_path / "bomb"), "16T")
    told = await failure(master, node, tmp_path / "bomb", "b")
    assert f"needs {16 << 40} bytes" in told.message
    # Where its content is to be found is only read when it is needed.
    torn = tmp_path / "torn"
    (tmp_path / "raw").write_bytes(b"x" * MIB)
    qemu_img("convert", "-O", "qcow2", str(tmp_path / "raw"), str(torn))
    entry = int.from_bytes(torn.read_bytes()[40:48], "big")
    changed(torn, entry, struct.pack(">Q", (1 << 63) | 0x40200))
    error = await failure(master, node, torn, "c")
    assert isinstance(error, OperationFailed)
    assert f"the image {torn} cannot be written to the disk of web1" in error.message
    assert "/dev/fd" not in error.message


async def test_an_image_with_holes_and_behind_a_link_is_written_whole(
    node: AgentProcess, master: HttpAgents, tmp_path: Path
) -> None:
    """A hole is zeros, and not what the disk had there."""
    image, link = tmp_path / "image", tmp_path / "link"
    image.write_bytes(b"begin")
    os.truncate(image, MIB)
    link.symlink_to(image)
    one = disk(size=2)
    await master.order(node.address, envelope("j/make"), DiskCreate(disk=one))
    path = node.root / one.path.lstrip("/")
    path.write_bytes(b"o" * 2 * MIB)
    order = ImageWrite(disk=one, image=str(link), instance=new_uuid(), name="web1.example.com")
    await master.order(node.address, envelope("j/x", timeout=60.0, lease=60.0), order)
    assert path.read_bytes() == b"begin".ljust(MIB, b"\0") + b"o" * MIB
