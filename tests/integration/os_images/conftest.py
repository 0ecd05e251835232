"""What the tests of our OS definitions share: private copies of them, disks, a kernel."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.os_images.definition import DEFINITIONS, NOBODY, Definition, empty_disk
from tests.support.guest_kernel import guest_kernel as guest_kernel


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that a user without rights can work in: pytest's own are closed to others."""
    path = Path(tempfile.mkdtemp(prefix="gantry-os-"))
    if os.geteuid() == 0:
        os.chown(path, NOBODY, NOBODY)
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def _copy(name: str, place: Path) -> Definition:
    directory = place / name
    shutil.copytree(DEFINITIONS / name, directory)
    for path in [directory, *directory.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o444 | (0o111 if path.is_dir() else 0))
    return Definition(directory=directory)


@pytest.fixture
def noop(place: Path) -> Definition:
    return _copy("noop", place)


@pytest.fixture
def busybox(place: Path) -> Definition:
    return _copy("busybox", place)


@pytest.fixture
def cloud_image(place: Path) -> Definition:
    """With what it keeps in a place of its own."""
    copy = _copy("cloud-image", place)
    (copy.directory / "settings").write_text(f"CACHE={place}/cache\n")
    return copy


@pytest.fixture
def debian(place: Path) -> Definition:
    """With what it keeps in a place of its own."""
    copy = _copy("debian", place)
    (copy.directory / "settings").write_text(f"CACHE={place}/cache\n")
    return copy


@pytest.fixture
def iso(place: Path) -> Definition:
    return _copy("iso", place)


@pytest.fixture
def disk(place: Path) -> Path:
    """An empty raw disk of 256 MiB."""
    return empty_disk(place / "disk0", 256 << 20)
