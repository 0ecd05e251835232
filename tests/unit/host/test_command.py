"""Short programs: their output, and the ways in which they fail."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gantry.host import command
from gantry.host.daemon import identity
from gantry.host.process import Stop
from gantry.model.errors import Reason

OUTLIVING = """
import asyncio, threading
from gantry.host.command import in_thread
from gantry.host.process import Stop
closed = threading.Event()
def work():
    closed.wait(60)
    print("ended")
async def begin():
    global waiting
    waiting = asyncio.ensure_future(in_thread(Stop(), work))
    await asyncio.sleep(0)
loop = asyncio.new_event_loop()
loop.run_until_complete(begin())
waiting._log_destroy_pending = False
loop.close()
closed.set()
"""


async def test_gives_status_and_both_outputs() -> None:
    done = await command.run(["sh", "-c", "echo out; echo err >&2"], timeout=100)
    assert (done.status, done.signal, done.stdout, done.stderr) == (0, None, b"out\n", b"err\n")


async def test_input_is_what_is_given_and_else_nothing() -> None:
    given = bytes(range(256)) * 1024
    assert (await command.run(["cat"], stdin=given, timeout=100)).stdout == given
    assert (await command.run(["cat"], timeout=100)).stdout == b""


async def test_the_environment_is_never_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    mine = await command.run(["/usr/bin/env"], env={"A": "1"}, timeout=100)
    assert mine.stdout == b"A=1\n"
    usual = (await command.run(["env"], timeout=100)).stdout.decode().splitlines()
    assert dict(line.split("=", 1) for line in usual) == dict(command.ENVIRONMENT)


async def test_runs_where_it_is_told_to(tmp_path: Path) -> None:
    assert (await command.run(["pwd"], cwd=str(tmp_path), timeout=100)).stdout == (
        f"{tmp_path}\n".encode()
    )


async def test_a_failure_tells_the_last_lines() -> None:
    with pytest.raises(command.CommandFailed) as caught:
        await command.run(["sh", "-c", "seq 9 >&2; exit 5"], timeout=100)
    assert caught.value.message == "sh ended with exit status 5: 7; 8; 9"


async def test_a_failure_without_errors_tells_the_output() -> None:
    with pytest.raises(command.CommandFailed, match="exit status 1: on stdout"):
        await command.run(["sh", "-c", "echo on stdout; exit 1"], timeout=100)


async def test_a_failure_may_be_expected() -> None:
    done = await command.run(["sh", "-c", "exit 5"], check=False, timeout=100)
    assert done.status == 5


async def test_a_signal_is_told() -> None:
    with pytest.raises(command.CommandFailed, match="was ended by signal 9"):
        await command.run(["sh", "-c", "kill -9 $$"], timeout=100)


async def test_a_missing_program_is_told_before_anything_runs() -> None:
    with pytest.raises(command.CommandFailed) as caught:
        await command.run(["no-such-program-at-all"], timeout=100)
    assert caught.value.reason is Reason.ENVIRONMENT
    assert "no-such-program-at-all is not installed" in caught.value.message


@pytest.mark.parametrize("check", [True, False])
async def test_a_path_that_leads_nowhere_is_told(check: bool) -> None:
    with pytest.raises(command.CommandFailed, match="cannot be executed: No such file"):
        await command.run(["/nowhere/at/all"], timeout=100, check=check)


@pytest.mark.parametrize("check", [True, False])
async def test_too_long_is_a_failure_always(check: bool) -> None:
    with pytest.raises(command.CommandFailed, match=r"took longer than 0\.2 s and was ended"):
        await command.run(["sleep", "1000"], timeout=0.2, check=check)


async def test_a_cancellation_ends_the_program_first(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    loop = asyncio.get_running_loop()
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    begun = asyncio.Event()
    loop.add_reader(reader, begun.set)
    task = asyncio.create_task(
        command.run(
            ["sh", "-c", f"echo $$ > {tmp_path}/pid; echo > {tmp_path}/fifo; exec sleep 1000"],
            timeout=100,
        )
    )
    try:
        await asyncio.wait_for(begun.wait(), 100)
    finally:
        loop.remove_reader(reader)
        os.close(reader)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert identity(int((tmp_path / "pid").read_text())) is None


async def test_a_second_cancellation_does_not_leave_the_work_behind() -> None:
    """What the work holds is closed by whoever waited for it, so the wait may not be cut short."""
    stop = Stop()
    loop = asyncio.get_running_loop()
    begun, wanted = asyncio.Event(), asyncio.Event()
    ended = False

    def work() -> None:
        nonlocal ended
        loop.call_soon_threadsafe(begun.set)
        os.eventfd_read(descriptor)
        loop.call_soon_threadsafe(wanted.set)
        os.eventfd_read(release)
        ended = True

    os.set_blocking(stop.descriptor, True)
    descriptor, release = os.dup(stop.descriptor), os.eventfd(0)
    task = asyncio.create_task(command.in_thread(stop, work))
    await asyncio.wait_for(begun.wait(), 100)
    task.cancel()
    await asyncio.wait_for(wanted.wait(), 100)
    task.cancel()
    loop.call_soon(os.eventfd_write, release, 1)
    with pytest.raises(asyncio.CancelledError):
        await task
    os.close(descriptor)
    os.close(release)
    assert ended


async def test_what_the_work_raises_is_raised() -> None:
    def work() -> None:
        raise ValueError("of the work")

    with pytest.raises(ValueError, match="of the work"):
        await command.in_thread(Stop(), work)


def test_work_that_outlives_the_loop_ends_without_a_complaint() -> None:
    """The loop may be closed in the middle of it, where a program is broken off."""
    done = subprocess.run(
        [sys.executable, "-c", OUTLIVING], capture_output=True, text=True, check=True, timeout=100
    )
    assert (done.stdout, done.stderr) == ("ended\n", "")


async def test_many_at_a_time_do_not_wait_for_each_other() -> None:
    async with asyncio.timeout(60):
        done = await asyncio.gather(
            *(command.run(["sh", "-c", f"echo {number}"], timeout=100) for number in range(40))
        )
    assert [one.stdout for one in done] == [f"{number}\n".encode() for number in range(40)]
