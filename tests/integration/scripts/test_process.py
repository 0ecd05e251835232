"""What a script finds itself in, beside what a script of Ganeti 3.0.2 found."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.scripts.conftest import ENVIRONMENT, Hooks

REPOSITORY = Path(__file__).parents[3]
GOLDEN = (
    REPOSITORY / "tests/golden/hooks/04-instance-start/01-node1-instance-start-pre.d.txt"
).read_text()
PROBE = """#!/usr/bin/python3 -IS
import json, os, stat
def kind(number):
    try:
        mode = os.fstat(number).st_mode
    except OSError:
        return None
    link = os.readlink(f"/proc/self/fd/{number}")
    return "file" if stat.S_ISREG(mode) else link
def terminal():
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True
umask = os.umask(0)
blocked = next(line for line in open("/proc/self/status") if line.startswith("SigBlk"))
print(json.dumps({
    "argv": open("/proc/self/cmdline").read().split("\\0")[2:-1],
    "cwd": os.getcwd(),
    "umask": f"{umask:04o}",
    "leader": os.getsid(0) == os.getpid() == os.getpgid(0),
    "terminal": terminal(),
    "nice": os.nice(0),
    "descriptors": {n: kind(n) for n in range(1024) if kind(n) is not None},
    "environment": open("/proc/self/environ").read(),
    "blocked": blocked.split()[1],
}))
"""
DRIVER = """
import asyncio, sys
from pathlib import Path
from tests.integration.scripts.conftest import Hooks
from gantry.host.scripts import run_hooks
order = Hooks.order()
result = asyncio.run(run_hooks(Path(sys.argv[1]), order, {"GANTRY_JOB": "7"})).results[0]
assert not result.problem, result.problem
print(result.output)
"""


@pytest.fixture
def seen(hooks: Hooks) -> Iterator[dict[str, Any]]:
    """The facts, from a process that was started as an agent is, and with a descriptor more."""
    hooks.script("50-dump", PROBE)
    read, write = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, str(hooks.base)],
            cwd="/",
            umask=0o077,
            env={"PYTHONPATH": str(REPOSITORY), "HOME": "/root", "LANG": "C.UTF-8"},
            pass_fds=[write],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(read)
        os.close(write)
    assert done.returncode == 0, done.stderr
    yield json.loads(done.stdout)


def golden(name: str) -> str:
    found = re.search(rf"{re.escape(name)}=(\S+)", GOLDEN)
    assert found is not None
    return found[1]


def test_argv_is_the_path_alone(seen: dict[str, Any], hooks: Hooks) -> None:
    theirs = golden("argv[0]").removeprefix("/etc/ganeti/hooks/")
    assert golden("argc") == "1"
    assert seen["argv"] == [f"{hooks.base}/{theirs}"]


def test_directory_umask_and_niceness_are_ganetis(seen: dict[str, Any]) -> None:
    assert (seen["cwd"], seen["umask"]) == (golden("cwd"), golden("umask"))
    assert seen["nice"] == int(golden("nice"))


def test_there_is_no_terminal_and_a_session_of_its_own(seen: dict[str, Any]) -> None:
    assert golden("controlling_tty") == "no" and not seen["terminal"]
    # Ganeti's scripts share the daemon's session; ours can be ended with all their children.
    assert golden("is_session_leader") == "0" and seen["leader"]


def test_the_only_descriptors_are_0_to_2_null_and_files(seen: dict[str, Any]) -> None:
    theirs = re.findall(r"^fd (\d+) -> (\w+)", GOLDEN, re.MULTILINE)
    assert theirs == [("0", "pipe"), ("1", "pipe"), ("2", "pipe")]
    # The hook interface, section 2.5, wants /dev/null and files.
    assert seen["descriptors"] == {"0": "/dev/null", "1": "file", "2": "file"}


def test_no_signal_is_blocked(seen: dict[str, Any]) -> None:
    assert int(seen["blocked"], 16) == 0


def test_the_environment_is_exactly_what_was_given(seen: dict[str, Any]) -> None:
    found = dict(item.split("=", 1) for item in seen["environment"].split("\0") if item)
    assert found == {**ENVIRONMENT, "GANTRY_JOB": "7"}
    assert f"\nPATH={found['PATH']}\n" in GOLDEN
