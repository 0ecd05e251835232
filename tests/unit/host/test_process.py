"""One program run to its end, and programs that an earlier process of ours left behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gantry.host import process
from gantry.host.daemon import Identity, identity
from gantry.model import timeouts

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def null() -> Iterator[int]:
    descriptor = os.open(os.devnull, os.O_RDWR)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def stop() -> Iterator[process.Stop]:
    made = process.Stop()
    yield made
    made.close()


def sh(text: str, null: int, timeout: float = 30.0, **more: object) -> process.Ended:
    return process.run(
        ["/bin/sh", "-c", text],
        ENVIRONMENT,
        stdout=null,
        stderr=null,
        timeout=timeout,
        **more,  # type: ignore[arg-type] # a test's own choice of keywords
    )


def orphan(text: str) -> subprocess.Popen[bytes]:
    """A process that leads a session, as scripts do, and says when it has begun."""
    started = subprocess.Popen(
        ["/bin/sh", "-c", f"echo begun; {text}"], stdout=subprocess.PIPE, start_new_session=True
    )
    assert started.stdout is not None
    with started.stdout:
        assert started.stdout.readline() == b"begun\n"
    return started


def of(running: subprocess.Popen[bytes]) -> Identity:
    found = identity(running.pid)
    assert found is not None
    return found


def gone(pid: int) -> bool:
    """Whether the process has ended, or does so soon: it was signalled, which takes a moment."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], 20)[0])
    finally:
        os.close(pidfd)


def test_tells_status_and_duration(null: int) -> None:
    ended = sh("exit 3", null)
    assert (ended.exit_status, ended.signal, ended.succeeded) == (3, None, False)
    assert 0 < ended.duration < 30
    assert sh("exit 0", null).succeeded


def test_what_does_not_exist_is_a_problem_and_no_error(null: int) -> None:
    ended = process.run(["/nowhere/at/all"], {}, stdout=null, stderr=null, timeout=9)
    assert ended.problem == "cannot be executed: No such file or directory"
    assert not ended.succeeded and ended.exit_status is None


@pytest.mark.parametrize("where", [{"X": "a\0b"}, {"A=B": "x"}])
def test_an_environment_that_cannot_be_is_a_problem_and_no_error(
    null: int, where: dict[str, str]
) -> None:
    ended = process.run(["/bin/true"], where, stdout=null, stderr=null, timeout=9)
    assert ended.problem.startswith("cannot be executed: ")


def test_an_environment_that_is_too_big_is_a_problem_and_no_error(null: int) -> None:
    ended = process.run(["/bin/true"], {"X": "x" * 2**18}, stdout=null, stderr=null, timeout=9)
    assert ended.problem == "cannot be executed: Argument list too long"


@pytest.mark.parametrize("name", ["program", "odd=program"])
def test_runs_in_the_directory_that_it_is_given(tmp_path: Path, name: str, null: int) -> None:
    program = tmp_path / name
    program.write_text('#!/bin/sh\npwd > out\necho "$0" >> out\nenv >> out\n')
    program.chmod(0o755)
    place = tmp_path / "a place"
    place.mkdir()
    ended = process.run(
        [str(program)], {"A": "1"}, stdout=null, stderr=null, directory=str(place), timeout=100
    )
    assert ended.succeeded
    lines = (place / "out").read_text().splitlines()
    assert lines[:2] == [str(place), str(program)]
    assert "A=1" in lines


def test_time_over_ends_it(null: int) -> None:
    ended = sh("sleep 1000", null, timeout=0.2)
    assert (ended.timed_out, ended.cancelled, ended.signal) == (True, False, signal.SIGTERM)


def test_a_stop_from_another_thread_ends_it(null: int, stop: process.Stop) -> None:
    ended = sh("sleep 1000", null, stop=stop, on_started=lambda _: stop.set())
    assert (ended.cancelled, ended.timed_out, ended.signal) == (True, False, signal.SIGTERM)
    assert not ended.succeeded


def test_a_stop_while_it_waits_wakes_it(null: int, stop: process.Stop) -> None:
    waiting = threading.Event()

    def later() -> None:
        waiting.wait(100)
        stop.set()

    thread = threading.Thread(target=later)
    thread.start()
    ended = sh("sleep 1000", null, stop=stop, on_started=lambda _: waiting.set())
    thread.join(100)
    assert ended.cancelled


def test_a_failure_of_who_is_told_leaves_no_process(null: int) -> None:
    told: list[Identity] = []

    def fail(which: Identity) -> None:
        told.append(which)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        sh("sleep 1000", null, on_started=fail)
    assert identity(told[0].pid) is None


def test_without_descriptors_there_is_no_process_either(
    null: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def none_left(_: int) -> int:
        raise OSError(24, "Too many open files")

    spawned: list[int] = []
    spawn = os.posix_spawn

    def told(*arguments: Any, **options: Any) -> int:
        spawned.append(spawn(*arguments, **options))
        return spawned[-1]

    monkeypatch.setattr(os, "pidfd_open", none_left)
    monkeypatch.setattr(os, "posix_spawn", told)
    ended = sh(f"sleep 1000; touch {tmp_path}/survived", null)
    assert ended.problem == "cannot be executed: Too many open files"
    assert len(spawned) == 1
    with pytest.raises(ChildProcessError):
        os.waitpid(spawned[0], os.WNOHANG)


def test_ends_an_orphan_with_its_children(tmp_path: Path) -> None:
    leader = orphan(f"sleep 1000 & echo $! > {tmp_path}/child; wait")
    record = of(leader)
    _wait_for(tmp_path / "child")
    child = int((tmp_path / "child").read_text())
    reaper = threading.Thread(target=leader.wait)
    reaper.start()
    assert process.end_orphans([record]) == [record]
    reaper.join(100)
    assert leader.returncode == -signal.SIGTERM
    assert gone(child)


def test_an_orphan_that_ignores_the_request_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeouts, "KILL_GRACE", 0.1)
    leader = orphan("trap '' TERM; while :; do sleep 1000; done")
    # It may say that it has begun before it ignores anything: either way it has to end.
    assert len(process.end_orphans([of(leader)])) == 1
    assert leader.wait(100) in (-signal.SIGKILL, -signal.SIGTERM)


def test_a_process_that_was_given_the_number_again_is_left_alone() -> None:
    other = orphan("sleep 1000")
    try:
        record = of(other)
        earlier = Identity(record.pid, record.started - 1)
        assert process.end_orphans([earlier]) == []
        assert other.poll() is None
    finally:
        other.kill()
        other.wait(100)


def test_orphans_that_are_gone_are_none() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    record = identity(gone.pid) or Identity(gone.pid, 0)
    gone.wait(100)
    assert process.end_orphans([record]) == []


def test_knows_what_can_be_executed(tmp_path: Path) -> None:
    assert process.exists("/bin/sh")
    assert not process.exists(str(tmp_path))
    (tmp_path / "plain").touch(0o644)
    assert not process.exists(str(tmp_path / "plain"))


def _wait_for(path: Path) -> None:
    end = time.monotonic() + 20
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < end
        threading.Event().wait(0.005)
