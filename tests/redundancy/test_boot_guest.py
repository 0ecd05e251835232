"""The guest that boots without a kernel: it finds what it wrote, and what is missing of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.redundancy import boot_guest
from tests.redundancy.watching import Console, story
from tests.support.cluster import eventually
from tests.support.volatile_image import VolatileImage

pytestmark = pytest.mark.qemu
AREA = 1 << 20
BLOCK = 4096
SLOTS = 256


@pytest.fixture(scope="module")
def boots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The beginning of a disk of such a guest."""
    return boot_guest.build(tmp_path_factory.mktemp("guest")) / "boot.img"


class Guest:
    """On a disk."""

    def __init__(self, boots: Path, directory: Path) -> None:
        self.disk, self._monitor = directory / "disk", directory / "monitor"
        self._log = directory / "console"
        self.console = Console(self._log, 1)
        shutil.copy(boots, self.disk)
        with self.disk.open("r+b") as file:
            file.truncate(4 << 20)

    @contextmanager
    def running(
        self, device: str = "virtio-blk-pci", **blockdev: object
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Killed at the end; what it said is added to the console's log."""
        plain = {"driver": "file", "filename": str(self.disk)}
        node = {"node-name": "disk", **(blockdev or plain)}
        argv = [
            *("qemu-system-x86_64", "-accel", "tcg,tb-size=32", "-m", "32", "-nodefaults"),
            *("-no-user-config", "-display", "none", "-blockdev", json.dumps(node)),
            *("-device", f"{device},drive=disk"),
            *("-chardev", f"file,id=console,path={self._log},append=on"),
            *("-serial", "chardev:console", "-monitor", "stdio"),
        ]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            try:
                yield process
            finally:
                process.kill()

    def acknowledged(self, more: int) -> None:
        """Wait until so many more blocks are."""
        wanted = self._blocks() + more
        eventually("it writes", lambda: self._blocks() >= wanted)

    def _blocks(self) -> int:
        return self._log.read_text().count("\nACK ") if self._log.exists() else 0


def test_it_goes_on_where_it_was_and_wraps_around(boots: Path, tmp_path: Path) -> None:
    guest = Guest(boots, tmp_path)
    with guest.running():
        guest.acknowledged(3)
    _renumber(guest.disk, SLOTS - 2)
    with guest.running():
        guest.acknowledged(5)
    with guest.running():
        guest.acknowledged(1)
    said = guest.console.more()
    reads = [one.number for one in said if one.word == "READ"]
    assert reads[0] == 0 and reads[1] == SLOTS - 2 and reads[2] >= SLOTS + 2
    assert story(said) == []


def test_it_finds_that_a_block_is_gone(boots: Path, tmp_path: Path) -> None:
    guest = Guest(boots, tmp_path)
    with guest.running():
        guest.acknowledged(5)
    with guest.disk.open("r+b") as file:
        file.seek(AREA + 2 * BLOCK)
        file.write(bytes(BLOCK // 2))
    with guest.running():
        guest.acknowledged(1)
    assert any("GONE" in one and "number=2" in one for one in story(guest.console.more()))


def test_it_goes_down_when_the_button_is_pressed(boots: Path, tmp_path: Path) -> None:
    guest = Guest(boots, tmp_path)
    with guest.running() as process:
        guest.acknowledged(1)
        assert process.stdin is not None
        process.stdin.write(b"system_powerdown\n")
        process.stdin.flush()
        assert process.wait(60) == 0


def test_what_it_was_told_is_on_a_disk_that_loses_its_power(boots: Path, tmp_path: Path) -> None:
    """A virtio disk writes through for who does not know its cache; an IDE disk does not."""
    assert _after_loss(boots, tmp_path / "virtio", "virtio-blk-pci") == []
    assert _after_loss(boots, tmp_path / "ide", "ide-hd") != []


def _after_loss(boots: Path, directory: Path, device: str) -> list[str]:
    directory.mkdir()
    guest = Guest(boots, directory)
    image = VolatileImage(directory / "image", "4M")
    guest.disk.rename(image.base)
    layer = {"driver": "file", "filename": str(image.more())}
    with guest.running(device, driver="qcow2", file=layer):
        guest.acknowledged(3)
    image.rest()
    guest.disk = image.base
    with guest.running():
        guest.acknowledged(1)
    return story(guest.console.more())


def _renumber(disk: Path, last: int) -> None:
    """All blocks up to that one are as the guest would have written them."""
    with disk.open("r+b") as file:
        for number in range(1, last + 1):
            factor = number * 0x9E3779B9 & 0xFFFFFFFF
            words = [number, *(0x67616E74 ^ factor ^ (at << 16) for at in range(1, BLOCK // 4))]
            file.seek(AREA + number % SLOTS * BLOCK)
            file.write(b"".join(word.to_bytes(4, "little") for word in words))
