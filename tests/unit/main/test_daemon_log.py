"""What daemons write to their logs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
