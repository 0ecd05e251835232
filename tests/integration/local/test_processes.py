"""Daemons of a local cluster as real processes: started, found again, ended."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from gantry.host.daemon import Identity
from gantry.local import processes
from gantry.local.description import LocalNode
from gantry.local.layout import Layout, Role
from gantry.model.errors import OperationFailed

NODE = LocalNode(number=1)
SERVES = """
import os, signal, sys
role, root, ready = sys.argv[1], sys.argv[3], int(sys.argv[5])
assert os.environ["GANTRY_ROOT"] == root, os.environ
assert "PYTHONPATH" not in os.environ
os.write(ready, b"ready\\n")
os.close(ready)
signal.pause()
"""
STUBBORN = SERVES.replace(
    "signal.pause()",
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: signal.pause()",
).replace("os.write", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.write")
FAILS = "import sys\nsys.exit('the certificate has expired')\n"


def _layout(directory: Path, program: str) -> Layout:
    layout = Layout(directory)
    layout.make()
    file = layout.program(NODE, "gantry")
    file.parent.mkdir(parents=True)
    file.write_text(program)
    return layout


async def test_a_daemon_is_started_once_and_found_and_stopped(tmp_path: Path) -> None:
    layout = _layout(tmp_path, SERVES)
    which = await processes.start(layout, NODE, Role.AGENT)
    try:
        assert processes.find(layout, NODE, Role.AGENT) == which
        assert await processes.start(layout, NODE, Role.AGENT) == which
        assert os.getsid(which.pid) == which.pid
    finally:
        await processes.stop(layout, NODE, Role.AGENT)
    assert not processes.alive(which)
    assert processes.find(layout, NODE, Role.AGENT) is None
    assert not layout.record(NODE, Role.AGENT).exists()


async def test_a_daemon_whose_record_was_never_written_is_found_by_its_log(tmp_path: Path) -> None:
    layout = _layout(tmp_path, SERVES)
    which = await processes.start(layout, NODE, Role.AGENT)
    try:
        layout.record(NODE, Role.AGENT).unlink()
        assert processes.find(layout, NODE, Role.AGENT) == which
        assert await processes.start(layout, NODE, Role.AGENT) == which
        assert layout.record(NODE, Role.AGENT).exists()
    finally:
        await processes.stop(layout, NODE, Role.AGENT)
    assert not processes.alive(which)


async def test_a_master_that_runs_and_does_not_serve_is_started_anew(tmp_path: Path) -> None:
    """It was left by an ``up`` that was killed: nobody would hear when it is ready."""
    layout = _layout(tmp_path, SERVES)
    first = await processes.start(layout, NODE, Role.MASTER)
    try:
        second = await processes.start(layout, NODE, Role.MASTER)
        assert second != first
        assert not processes.alive(first)
        assert processes.alive(second)
    finally:
        await processes.stop(layout, NODE, Role.MASTER)


async def test_a_reused_pid_is_not_taken_for_the_daemon(tmp_path: Path) -> None:
    layout = _layout(tmp_path, SERVES)
    record = layout.record(NODE, Role.AGENT)
    record.write_text(f'{{"pid": {os.getpid()}, "started": 1}}')
    assert processes.find(layout, NODE, Role.AGENT) is None
    await processes.stop(layout, NODE, Role.AGENT)
    assert not record.exists()


async def test_a_daemon_that_fails_is_told_with_what_it_said(tmp_path: Path) -> None:
    layout = _layout(tmp_path, FAILS)
    with pytest.raises(OperationFailed, match="the certificate has expired") as caught:
        await processes.start(layout, NODE, Role.AGENT)
    assert "agent of node1 ended while it was starting" in str(caught.value)
    assert str(layout.log(NODE, Role.AGENT)) in caught.value.hint


async def test_only_what_this_start_said_is_told(tmp_path: Path) -> None:
    layout = _layout(tmp_path, FAILS)
    log = layout.log(NODE, Role.AGENT)
    log.parent.mkdir(parents=True)
    log.write_text("an old complaint\n")
    with pytest.raises(OperationFailed) as caught:
        await processes.start(layout, NODE, Role.AGENT)
    assert "an old complaint" not in str(caught.value)


async def test_a_daemon_that_will_not_end_is_ended_by_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP", 0.2)
    layout = _layout(tmp_path, STUBBORN)
    which = await processes.start(layout, NODE, Role.AGENT)
    await processes.stop(layout, NODE, Role.AGENT)
    assert not processes.alive(which)


async def test_a_daemon_that_was_killed_is_not_found(tmp_path: Path) -> None:
    layout = _layout(tmp_path, SERVES)
    which = await processes.start(layout, NODE, Role.AGENT)
    os.kill(which.pid, signal.SIGKILL)
    await asyncio.to_thread(os.waitpid, which.pid, 0)
    assert processes.find(layout, NODE, Role.AGENT) is None


async def test_ending_a_process_that_is_gone_is_fine() -> None:
    await processes.end(Identity(pid=2**22 - 1, started=1))
