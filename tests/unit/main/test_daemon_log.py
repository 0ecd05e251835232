"""What daemons write to their logs."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gantry.main.daemon import log_file

PROGRAM = """
import logging, sys
from pathlib import Path
from gantry.main.daemon import log_to
log_to(Path(sys.argv[1]))
logging.getLogger("gantry.part").info("ours")
logging.getLogger("gantry.part").debug("ours in detail")
logging.getLogger("asyncio").debug("of others in detail")
"""


@pytest.mark.parametrize(
    ("given", "expected"), [({}, ["ours"]), ({"GANTRY_LOG": "debug"}, ["ours", "ours in detail"])]
)
def test_details_are_ours_alone_and_only_where_asked_for(
    tmp_path: Path, given: dict[str, str], expected: list[str]
) -> None:
    log = tmp_path / "daemon.log"
    environment = {name: value for name, value in os.environ.items() if name != "GANTRY_LOG"}
    argv = [sys.executable, "-c", PROGRAM, str(log)]
    subprocess.run(argv, env={**environment, **given}, check=True, timeout=60)
    lines = log.read_text().splitlines()
    assert [line.partition("logger=gantry.part ")[2] for line in lines] == expected


@pytest.fixture
def said(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    handler = log_file(tmp_path / "daemon.log")

    def say(text: str) -> None:
        handler.handle(logging.LogRecord("x", logging.INFO, "", 0, text, (), None))

    yield say
    handler.close()


def test_a_full_log_is_put_aside_before_the_next_line(
    tmp_path: Path, said: Callable[[str], None]
) -> None:
    for text in ("first", "second"):
        said(text)
    os.truncate(tmp_path / "daemon.log", 5_000_000)
    said("third")
    [line] = (tmp_path / "daemon.log").read_text().splitlines()
    assert line.endswith(" third")
    aside = (tmp_path / "daemon.log.1").read_text().splitlines()
    assert aside[0].endswith(" first") and aside[1].endswith(" second")


def test_three_full_logs_are_kept(tmp_path: Path, said: Callable[[str], None]) -> None:
    for number in range(6):
        said(str(number))
        os.truncate(tmp_path / "daemon.log", 5_000_000)
    first = {one.name: one.read_text().split("\n", 1)[0][-1] for one in tmp_path.iterdir()}
    assert first == {
        "daemon.log": "5",
        "daemon.log.1": "4",
        "daemon.log.2": "3",
        "daemon.log.3": "2",
    }


def test_a_log_that_was_full_already_is_put_aside_first(
    tmp_path: Path, said: Callable[[str], None]
) -> None:
    (tmp_path / "daemon.log").write_text("\n" * 5_000_000)
    said("first")
    assert (tmp_path / "daemon.log").stat().st_size < 1000


def test_a_log_that_is_no_file_is_never_put_aside(tmp_path: Path) -> None:
    (tmp_path / "daemon.log").symlink_to("/dev/null")
    handler = log_file(tmp_path / "daemon.log")
    handler.handle(logging.LogRecord("x", logging.INFO, "", 0, "first", (), None))
    handler.close()
    assert [one.name for one in tmp_path.iterdir()] == ["daemon.log"]
