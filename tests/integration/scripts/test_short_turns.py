"""Phases of one process run side by side, however few threads start programs at a time."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable

import pytest
from tests.integration.scripts.conftest import Hooks

from gantry.host import short_turns
from gantry.host.short_turns import Turn

PHASES = 3 * max(2, os.cpu_count() or 1)


def until(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.002)


async def test_scripts_that_wait_for_each_other_all_run(hooks: Hooks) -> None:
    """More phases than turns: none ends before the scripts of all have begun."""
    met = hooks.base / "met"
    met.mkdir()
    waits = f"while [ $(ls {met} | wc -l) -lt {PHASES} ]; do sleep 0.02; done"
    hooks.script("10-meet", f"touch {met}/$GANTRY_PHASE\n{waits}")
    phases = (hooks.run(extra={"GANTRY_PHASE": str(number)}) for number in range(PHASES))
    for [result] in await asyncio.gather(*phases):
        assert result.exit_status == 0, result


def test_a_turn_is_given_on_only_once() -> None:
    turns = [Turn() for _ in range(max(2, os.cpu_count() or 1))]
    for turn in turns:
        turn.__enter__()
    waiting = threading.Event()
    had = threading.Event()

    def wait() -> None:
        waiting.set()
        with Turn():
            had.set()

    thread = threading.Thread(target=wait)
    thread.start()
    waiting.wait(100)
    assert not had.is_set()
    turns[0].over()
    turns[0].over()
    assert had.wait(100)
    thread.join(100)
    for turn in turns:
        turn.__exit__(None, None, None)
    with turns[0]:
        pass


def test_a_turn_is_for_several_scripts_and_then_somebody_elses() -> None:
    turns = [Turn() for _ in range(max(2, os.cpu_count() or 1))]
    for turn in turns[1:]:
        turn.__enter__()
    mine = turns[0]
    mine.go_on()
    had = threading.Event()

    def wait() -> None:
        with Turn():
            had.set()

    thread = threading.Thread(target=wait)
    thread.start()
    while not short_turns._PLACES.waiting:
        time.sleep(0.001)
    for _ in range(15):
        mine.go_on()
        assert not had.is_set()
    mine.go_on()
    assert had.is_set(), "who has waited comes first, before the one who has just had it"
    thread.join(100)
    for turn in turns:
        turn.over()


def test_who_has_a_turn_begins_its_first_script_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short_turns, "_PLACES", short_turns._Places(1))
    with Turn() as mine:
        other = Turn()
        thread = threading.Thread(target=other.__enter__)
        thread.start()
        while not short_turns._PLACES.waiting:
            time.sleep(0.001)
        for _ in range(16):
            mine.go_on()
        assert thread.is_alive(), "it has waited, and waits for this turn"
    thread.join(100)
    assert not thread.is_alive()
    other.over()


def test_who_has_what_others_need_has_the_next_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short_turns, "_PLACES", short_turns._Places(1))
    order = list[str]()

    def have(name: str, *, first: bool) -> None:
        turn = Turn()
        turn.go_on(first=first)
        order.append(name)
        turn.over()

    threads = list[threading.Thread]()
    with Turn():
        for name in ("one", "two", "first"):
            thread = threading.Thread(target=have, args=(name,), kwargs={"first": name == "first"})
            threads.append(thread)
            thread.start()
            until(lambda: len(short_turns._PLACES.waiting) == len(threads))
    for thread in threads:
        thread.join(100)
    assert order == ["first", "one", "two"]


async def test_a_phase_that_is_cancelled_while_it_waits_for_a_turn_begins_no_script(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(short_turns, "_PLACES", short_turns._Places(1))
    ran = hooks.base.parent / "ran"
    hooks.script("10-a", f"touch {ran}-10; while [ ! -e {ran}-go ]; do sleep 0.01; done")
    hooks.script("11-b", f"touch {ran}-11")
    phase = asyncio.create_task(hooks.run())
    await asyncio.to_thread(until, ran.with_name("ran-10").exists)
    # Its script takes long, so that it has given its turn on.
    with Turn():
        ran.with_name("ran-go").touch()
        await asyncio.to_thread(until, lambda: bool(short_turns._PLACES.waiting))
        phase.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await phase
    assert not ran.with_name("ran-11").exists()


@pytest.mark.parametrize(("processes", "places"), [(1, 4), (2, 2), (9, 1)])
def test_processes_that_share_the_machine_have_a_part_of_it_each(
    monkeypatch: pytest.MonkeyPatch, processes: int, places: int
) -> None:
    monkeypatch.setattr(short_turns, "_PLACES", short_turns._Places(2))
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    short_turns.share(processes)
    turns = [Turn() for _ in range(places)]
    for turn in turns:
        turn.go_on()
    had = threading.Event()

    def wait() -> None:
        with Turn():
            had.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not had.wait(0.1), "one more than there are places for"
    turns[0].over()
    thread.join(100)
    assert had.is_set()
