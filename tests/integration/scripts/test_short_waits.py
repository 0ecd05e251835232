"""Scripts that are waited for without a pidfd, and the timer that finds those that take longer."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gantry.host import short_waits
from gantry.host.process import Ended, Stop
from gantry.host.short_waits import AFTER, ShortWaits

PATIENCE = 30.0


def begun(text: str) -> tuple[int, float]:
    began = time.monotonic()
    argv = ["/bin/sh", "-c", text]
    return os.posix_spawn(argv[0], argv, {"PATH": "/usr/bin:/bin"}, setsid=True), began


def nothing() -> None:
    pass


def waited(
    waits: ShortWaits,
    text: str,
    *,
    timeout: float = PATIENCE,
    work: Callable[[], None] = nothing,
    note: Callable[[], None] = nothing,
) -> Ended:
    pid, began = begun(text)
    ended = waits.finish(pid, began, timeout, ((0.0, work), (AFTER, note)))
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return ended


@pytest.mark.parametrize(("text", "status"), [("exit 0", 0), ("exit 3", 3), ("exit 255", 255)])
def test_exit_statuses(text: str, status: int) -> None:
    with ShortWaits(Stop()) as waits:
        ended = waited(waits, text)
    assert (ended.exit_status, ended.signal) == (status, None)
    assert not ended.timed_out
    assert not ended.cancelled


def test_a_signal() -> None:
    with ShortWaits(Stop()) as waits:
        assert waited(waits, "kill -KILL $$").signal == signal.SIGKILL


def test_work_at_once_is_done_here_and_the_other_elsewhere_while_it_runs(tmp_path: Path) -> None:
    who: list[tuple[str, int]] = []
    go_on = tmp_path / "go-on"
    os.mkfifo(go_on)

    def note() -> None:
        who.append(("note", threading.get_ident()))
        go_on.write_text("now\n")

    with ShortWaits(Stop()) as waits:
        # It ends only when the note lets it.
        ended = waited(
            waits,
            f"read line < {go_on}",
            work=lambda: who.append(("work", threading.get_ident())),
            note=note,
        )
    assert ended.succeeded
    assert [what for what, _ in who] == ["work", "note"]
    assert who[0][1] == threading.get_ident() != who[1][1]


def test_every_long_script_of_a_sequence_is_noticed_and_of_one_after_it(tmp_path: Path) -> None:
    noted = []
    for sequence in range(2):
        with ShortWaits(Stop()) as waits:
            for number in range(3):
                go_on = tmp_path / f"{sequence}-{number}"
                os.mkfifo(go_on)

                def note(go_on: Path = go_on) -> None:
                    noted.append(go_on.name)
                    go_on.write_text("now\n")

                assert waited(waits, "exit 0").succeeded
                assert waited(waits, f"read line < {go_on}", note=note).succeeded
    assert noted == ["0-0", "0-1", "0-2", "1-0", "1-1", "1-2"]


def test_a_deadline_ends_all_of_the_group(tmp_path: Path) -> None:
    child = tmp_path / "child"
    with ShortWaits(Stop()) as waits:
        text = f"sleep 600 & echo $! > {child}; wait"
        ended = waited(waits, text, timeout=1.0)
        assert ended.timed_out
        assert not ended.cancelled
        assert ended.signal == signal.SIGTERM
        assert not Path(f"/proc/{child.read_text().strip()}").exists() or _dead(child)
        # Those after it are not.
        assert waited(waits, "exit 0").succeeded


def test_a_script_that_was_ended_is_not_looked_after_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The timer may come by again before the thread that waits for the script has a turn."""
    waitid = os.waitid

    def slowly(*what: int) -> object:
        found = waitid(*what)
        with waits._lock:  # the one who ended it is ready
            pass
        waits.due(time.monotonic())
        for thread in threading.enumerate():
            if thread.name == f"script {what[1]}":
                thread.join()
        return found

    monkeypatch.setattr(os, "waitid", slowly)
    with ShortWaits(Stop()) as waits:
        ended = waited(waits, "trap 'exit 0' TERM; sleep 600 & wait", timeout=0.1)
    assert ended.timed_out
    assert not ended.succeeded


def _dead(child: Path) -> bool:
    """Nobody has reaped it yet."""
    stat = Path(f"/proc/{child.read_text().strip()}/stat")
    return stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_stop_ends_the_script_that_runs() -> None:
    stop = Stop()
    with ShortWaits(stop) as waits:
        ended = waited(waits, "sleep 600", note=stop.set)
    assert ended.cancelled
    assert not ended.timed_out
    stop.close()


def test_a_stop_before_it_is_waited_for_ends_it() -> None:
    stop = Stop()
    with ShortWaits(stop) as waits:
        assert waited(waits, "sleep 600", work=stop.set).cancelled
    stop.close()


@pytest.mark.parametrize("where", ["work", "note"])
def test_what_goes_wrong_meanwhile_ends_the_script_and_is_raised(where: str) -> None:
    def wrong() -> None:
        raise LookupError("of the note")

    pid, began = begun("sleep 600")
    work, note = (wrong, nothing) if where == "work" else (nothing, wrong)
    with ShortWaits(Stop()) as waits:
        with pytest.raises(LookupError, match="of the note"):
            waits.finish(pid, began, PATIENCE, ((0.0, work), (AFTER, note)))
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        assert waited(waits, "exit 0").succeeded


def test_the_timer_sleeps_when_there_are_no_sequences() -> None:
    with ShortWaits(Stop()) as waits:
        waited(waits, "exit 0")
    timer = short_waits._timer()
    deadline = time.monotonic() + PATIENCE
    while not timer._idle and time.monotonic() < deadline:
        time.sleep(AFTER)
    assert timer._idle


def test_where_there_can_be_no_timer_scripts_are_watched_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short_waits._timer.cache_clear()
    start = threading.Thread.start

    def none(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    noted = list[str]()
    with monkeypatch.context() as there, ShortWaits(Stop()) as waits:
        there.setattr(threading.Thread, "start", none)
        assert waited(waits, "exit 3").exit_status == 3
        ended = waited(waits, "sleep 20", timeout=0.1, note=lambda: noted.append("noted"))
        assert ended.timed_out
        assert noted == ["noted"]
    assert threading.Thread.start is start
    with ShortWaits(Stop()) as waits:
        assert waited(waits, "sleep 20", timeout=0.1).timed_out, "there can be one again"


def test_what_is_left_of_the_work_is_done_before_a_script_is_ended(tmp_path: Path) -> None:
    stop = Stop()
    text = f"trap 'exit 0' TERM; touch {tmp_path}/up; while :; do sleep 0.01; done"
    alive = list[bool]()

    def work() -> None:
        while not (tmp_path / "up").exists():
            time.sleep(0.001)
        stop.set()

    with ShortWaits(stop) as waits:
        pid, began = begun(text)
        later = ((0.0, work), (1000.0, lambda: alive.append(Path(f"/proc/{pid}").exists())))
        ended = waits.finish(pid, began, PATIENCE, later)
    assert ended.cancelled
    assert alive == [True]
