"""Phases of one process run side by side, however few threads start programs at a time."""

from __future__ import annotations

import asyncio
import os
import threading
import time

import pytest
from tests.integration.scripts.conftest import Hooks

from gantry.host import short_turns
from gantry.host.short_turns import Turn

PHASES = 3 * max(2, os.cpu_count() or 1)


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
