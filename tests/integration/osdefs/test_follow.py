"""Following a log that grows."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from gantry.osdefs.follow import MAX_BYTES, MAX_LINES, Follower, last_lines


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.write_text("old\n")
    return path


def add(log: Path, text: str | bytes) -> None:
    with log.open("ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class Lines:
    """Lines as they come, and waiting for them."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.more = asyncio.Event()

    def __call__(self, line: str) -> None:
        self.seen.append(line)
        self.more.set()

    async def until(self, count: int) -> list[str]:
        async with asyncio.timeout(100):
            while len(self.seen) < count:
                self.more.clear()
                await self.more.wait()
        return self.seen


async def test_new_lines_come_one_by_one_and_old_ones_do_not(log: Path) -> None:
    lines = Lines()
    async with Follower(log, lines):
        add(log, "one\ntw")
        assert await lines.until(1) == ["one"]
        add(log, "o\nthree")
        assert await lines.until(2) == ["one", "two"]
    assert lines.seen == ["one", "two", "three"]


async def test_a_character_may_come_in_two_parts(log: Path) -> None:
    lines = Lines()
    async with Follower(log, lines):
        add(log, "x\nü".encode()[:-1])
        await lines.until(1)
        add(log, "ü\n".encode()[1:])
        assert await lines.until(2) == ["x", "ü"]


@pytest.mark.parametrize("text", ["x\n" * (MAX_LINES + 1), "y" * (MAX_BYTES + 1)])
async def test_a_flood_ends_with_a_word_of_where_the_rest_is(log: Path, text: str) -> None:
    lines = Lines()
    async with Follower(log, lines):
        add(log, text)
        await lines.until(1)
        add(log, "and more\n")
    assert "more output" in lines.seen[-1]
    assert len(lines.seen) <= MAX_LINES + 1
    assert "and more" not in lines.seen


async def test_without_a_watch_all_comes_at_the_end(log: Path) -> None:
    def none_left(path: Path) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    lines = Lines()
    async with Follower(log, lines, inotify=none_left):
        add(log, "one\n")
    assert "Too many open files" in lines.seen[0]
    assert lines.seen[1:] == ["one"]


async def test_no_descriptor_is_left_open(log: Path) -> None:
    before = descriptors()
    async with Follower(log, Lines()):
        assert descriptors() == before + 2
    assert descriptors() == before


def test_the_last_lines_of_a_huge_file_are_found_quickly(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        file.truncate(1 << 33)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + b"\n".join(b"%d" % number for number in range(100)) + b"\n")
    assert last_lines(path, 3) == ["97", "98", "99"]
