"""Whether somebody has written to a disk that no guest has open."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gantry.agent import changes
from gantry.agent.changes import stamp, written

LONG_AGO = time.time() - 3600


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "disk0"
    path.write_bytes(b"x" * 65536)
    # A later look at what is there now: what matters is how long ago the last change was.
    monkeypatch.setattr(changes, "_clock", lambda directory: path.stat().st_ctime + 3600)
    return path


@pytest.mark.parametrize(
    "argv",
    [
        ("dd", "if=/dev/zero", "of={}", "bs=512", "count=1", "conv=notrunc"),
        ("dd", "if=/dev/zero", "of={}", "bs=4k", "count=1", "conv=notrunc", "oflag=direct"),
        ("fallocate", "--punch-hole", "--offset", "0", "--length", "4096", "{}"),
        ("truncate", "--size", "+512", "{}"),
        ("qemu-io", "-f", "raw", "-c", "write 0 512", "{}"),
        ("qemu-io", "-f", "raw", "-c", "discard 0 64k", "-d", "unmap", "{}"),
        ("touch", "--date=2001-01-01", "{}"),
    ],
    ids=lambda argv: " ".join(argv[:3]),
)
def test_every_write_is_another_stamp(disk: Path, argv: tuple[str, ...]) -> None:
    before = stamp(disk)
    assert before
    assert stamp(disk) == before
    subprocess.run(
        [word.format(disk) for word in argv], check=True, capture_output=True, timeout=60
    )
    assert stamp(disk) != before


def test_another_file_of_the_same_content_and_time_is_another_disk(disk: Path) -> None:
    before = stamp(disk)
    other = disk.with_name("other")
    subprocess.run(["cp", "--preserve", disk, other], check=True, timeout=60)
    other.replace(disk)
    assert stamp(disk) != before


def test_reading_changes_nothing(disk: Path) -> None:
    before = stamp(disk)
    assert disk.read_bytes()
    assert stamp(disk) == before


def test_what_was_changed_just_now_or_is_no_file_has_none(tmp_path: Path) -> None:
    path = tmp_path / "disk0"
    path.write_bytes(b"x")
    assert stamp(path) == ""
    assert stamp(tmp_path) == ""
    assert stamp(tmp_path / "missing") == ""
    assert stamp(Path("/dev/null")) == ""
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert stamp(path) == ""


def test_how_long_ago_that_was_is_told_by_the_clock_of_the_file_system(
    disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file server's may be an hour slow: what was written just now looks old by ours."""
    monkeypatch.setattr(changes, "_clock", lambda directory: disk.stat().st_ctime + 0.5)
    monkeypatch.setattr(time, "time", lambda: disk.stat().st_ctime + 3600)
    assert stamp(disk) == ""
    found = disk.stat()
    assert written(found, found.st_ctime + 0.99) == ""
    assert written(found, found.st_ctime + 1.01) != ""


def test_that_clock_is_read_without_leaving_anything(tmp_path: Path) -> None:
    before = time.time()
    assert before - 1 < changes._clock(tmp_path) < time.time() + 1
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="No such file"):
        changes._clock(tmp_path / "missing")
    assert stamp(tmp_path / "missing" / "disk0") == ""


def test_the_disk_is_opened_as_nfs_asks_its_server_only_then(disk: Path) -> None:
    with _opened() as paths:
        assert stamp(disk)
    assert str(disk) in paths


_WATCHING: list[list[str]] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _WATCHING:
        _WATCHING[-1].append(str(arguments[0]))


@contextmanager
def _opened() -> Iterator[list[str]]:
    """The paths that Python opens meanwhile. A hook for audits cannot be taken away again."""
    sys.addaudithook(_watch)
    _WATCHING.append([])
    yield _WATCHING[-1]
    _WATCHING.pop()
