"""What commands load: every import is paid for by whoever waits for a listing."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest
from tests.integration.cli.conftest import Commands

HEAVY = (
    "asyncio",
    "msgspec",
    "aiohttp",
    "ssl",
    "rich",
    "http.client",
    "urllib.parse",
    "logging",
    "subprocess",
    "pathlib",
    "dataclasses",
    "inspect",
    "typing",
    "socket",
    "locale",
)
PROGRAM = """
import sys
before = set(sys.modules)
from gantry.main.gnt import main
status = main(sys.argv[1], sys.argv[2:])
heavy = {heavy!r}
print(*sorted(name for name in set(sys.modules) - before if name in heavy), file=sys.stderr)
raise SystemExit(status)
"""


@pytest.mark.parametrize(
    "line",
    [
        "gnt-instance list",
        "gnt-instance list --json -o +tags web1",
        "gnt-node list",
        "gnt-job list",
        "gnt-instance start web1",
        "gnt-job wait 1",
        "gnt-instance info web1",
        "gnt-cluster getmaster",
    ],
)
async def test_commands_load_nothing_heavy(gnt: Commands, line: str) -> None:
    gnt.queue.at_once = True
    await gnt("gnt-instance start web1")
    ssconf = gnt.root / "var/lib/ganeti/ssconf_master_node"
    ssconf.parent.mkdir(parents=True)
    ssconf.write_text("node1.example.com\n")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-c", PROGRAM.format(heavy=HEAVY)),
        *line.split(),
        env={**os.environ, "GANTRY_ROOT": str(gnt.root)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    shown, loaded = await process.communicate()
    assert process.returncode == 0, loaded.decode()
    allowed = {"pathlib", "urllib.parse", "socket"} if "getmaster" in line else set()
    assert set(loaded.decode().split()) <= allowed
    assert shown or "wait" in line or "start" in line
