"""Whether somebody has written to a disk that no guest has open."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from gantry.agent.changes import stamp

LONG_AGO = time.time() - 3600


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "disk0"
    path.write_bytes(b"x" * 65536)
    # A later look at what is there now: what matters is how long ago the last change was.
    monkeypatch.setattr(time, "time", lambda: path.stat().st_ctime + 3600)
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
