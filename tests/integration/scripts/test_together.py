"""What short scripts left is looked at together, and nothing is lost or mixed up by it."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.integration.scripts.conftest import Hooks
from tests.support.cluster import eventually

from gantry.host import scripts
from gantry.host.digests import digest
from gantry.host.listing import Script
from gantry.host.outputs import Outputs
from gantry.host.process import Ended
from gantry.host.scripts import run_hooks
from gantry.model.orders import ScriptResult, ScriptStatus

COUNT = 40


class Heard:
    """What was told, in its order: names of scripts, each with how."""

    def __init__(self) -> None:
        self.all: list[tuple[str, list[str]]] = []

    def brief(self, number: int, script: Script, began: float, ended: Ended) -> None:
        assert script.name == f"{number:02d}" and time.time() - 60 < began <= time.time()
        assert ended.exit_status == number % 2
        self.all.append(("brief", [script.name]))

    def results(self, results: Sequence[ScriptResult], last: bool) -> None:
        self.all.append(("results", [one.script for one in results]))

    @property
    def results_only(self) -> list[list[str]]:
        return [names for how, names in self.all if how == "results"]


async def run(hooks: Hooks, heard: Heard, *, brief: bool = True) -> tuple[ScriptResult, ...]:
    told = heard.brief if brief else None
    order = hooks.order()
    ran = await run_hooks(hooks.base, order, {}, on_brief=told, on_results=heard.results)
    return ran.results


async def test_every_result_is_told_once_and_in_order(hooks: Hooks) -> None:
    for number in range(COUNT):
        hooks.script(f"{number:02d}", f"echo {number}; exit {number % 2}")
    heard = Heard()
    results = await run(hooks, heard)
    names = [f"{number:02d}" for number in range(COUNT)]
    assert [name for told in heard.results_only for name in told] == names
    assert [(one.script, one.output, one.exit_status) for one in results] == [
        (f"{number:02d}", f"{number}\n", number % 2) for number in range(COUNT)
    ]
    # A script of which was told in brief has its result after that, and no other has none.
    seen: set[str] = set()
    for how, told in heard.all:
        assert how == "results" or not seen & set(told)
        seen |= set(told) if how == "results" else set()


async def test_how_a_script_ended_is_told_before_the_next_one_begins(
    hooks: Hooks, tmp_path: Path
) -> None:
    """If the agent is killed, the first one without a word of it is the one that ran."""
    told = tmp_path / "told"

    class Slowly(Heard):
        def brief(self, number: int, script: Script, began: float, ended: Ended) -> None:
            super().brief(number, script, began, ended)
            time.sleep(0.3)
            (tmp_path / f"told-{number}").touch()

    hooks.script("00", "exit 0")
    hooks.script("01", f"sleep 0.1; [ ! -e {told}-0 ]")
    hooks.script("02", f"[ ! -e {told}-1 ] || exit 0; exit 7")
    results = await run(hooks, Slowly())
    assert [one.exit_status for one in results] == [0, 1, 0], "a word came too late"


async def test_where_each_counts_its_result_is_told_while_the_next_one_runs(hooks: Hooks) -> None:
    for number in range(5):
        hooks.script(f"{number:02d}", "exit 0")
    heard = Heard()
    await run(hooks, heard, brief=False)
    assert heard.all == [("results", [f"{number:02d}"]) for number in range(5)]


async def test_what_waits_is_told_when_a_script_takes_a_while(hooks: Hooks, tmp_path: Path) -> None:
    """It may take hours, and we may be killed meanwhile."""
    told = tmp_path / "told"

    class Waiting(Heard):
        def results(self, results: Sequence[ScriptResult], last: bool) -> None:
            super().results(results, last)
            told.touch()

    hooks.script("00", "exit 0")
    hooks.script("01", "exit 1")
    hooks.script("02", f"while ! [ -e {told} ]; do sleep 0.01; done; exit 0")
    heard = Waiting()
    results = await run(hooks, heard)
    assert heard.results_only == [["00", "01"], ["02"]] or heard.results_only[0] == ["00"]
    assert [one.exit_status for one in results] == [0, 1, 0]


async def test_skipped_and_failing_ones_keep_their_place(hooks: Hooks) -> None:
    hooks.script("00", "exit 0")
    hooks.script("01", "exit 1").chmod(0o644)
    hooks.script("02", b"no program")
    hooks.script("03", "exit 1")
    heard = Heard()
    results = await run(hooks, heard)
    expected = ["SUCCEEDED", "SKIPPED", "FAILED", "FAILED"]
    assert [one.status.name for one in results] == expected
    assert [name for told in heard.results_only for name in told] == ["00", "01", "02", "03"]


@pytest.mark.parametrize("fresh", [True, False])
async def test_a_script_that_removes_or_changes_itself_has_the_digest_of_what_ran(
    hooks: Hooks, fresh: bool
) -> None:
    files = [
        hooks.script("10-removes", 'rm "$0"'),
        hooks.script("20-changes", 'sleep 0.05; echo "#" > "$0"'),
        hooks.script("30-stays", "exit 0"),
    ]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    if not fresh:
        await asyncio.sleep(2.1)
        # Known from an earlier run, in which they have not yet changed.
        assert [digest(str(path)) for path in files] == digests
    results = (await run_hooks(hooks.base, hooks.order(), {}, on_brief=lambda *_: None)).results
    assert [one.status for one in results] == [ScriptStatus.SUCCEEDED] * 3
    assert [one.digest for one in results] == digests


async def test_a_large_program_has_its_digest_too(hooks: Hooks) -> None:
    path = hooks.script("10-large", "exit 0\n" + "#" * 200_000)
    [result] = (await run_hooks(hooks.base, hooks.order(), {}, on_brief=lambda *_: None)).results
    assert result.digest == hashlib.sha256(path.read_bytes()).hexdigest()


async def test_a_script_that_an_earlier_one_replaces_has_the_digest_of_what_ran(
    hooks: Hooks,
) -> None:
    second = hooks.script("20-b", "exit 1")
    await asyncio.sleep(2.1)
    digest(str(second))
    hooks.script("10-a", f"printf '#!/bin/sh\\nexit 0\\n' > {second}")
    results = (await run_hooks(hooks.base, hooks.order(), {}, on_brief=lambda *_: None)).results
    assert results[1].exit_status == 0
    assert results[1].digest == hashlib.sha256(b"#!/bin/sh\nexit 0\n").hexdigest()


def test_an_empty_file_serves_a_later_sequence_and_one_that_is_open_does_not(
    tmp_path: Path,
) -> None:
    places = [tmp_path / name for name in ("a", "b")]
    for place in places:
        place.mkdir()
    with Outputs(places[0]) as outputs:
        out, errors = outputs.take()
        held = os.open(errors.path, os.O_WRONLY | os.O_APPEND)
        outputs.close(out, "x")
        outputs.close(errors, "y")
        inode = os.fstat(out.descriptor).st_ino
    kept = os.fstat(held).st_ino
    with Outputs(places[1]) as outputs:
        taken = [one for _ in range(40) for one in outputs.take()]
        inodes = {os.fstat(one.descriptor).st_ino for one in taken}
        assert inode in inodes and kept not in inodes
        one = next(one for one in taken if os.fstat(one.descriptor).st_ino == inode)
        writes = os.open(one.path, os.O_WRONLY | os.O_APPEND)
        os.write(writes, b"said")
        os.close(writes)
        content, stream = outputs.close(one, "0000.out")
        assert (content, stream.file) == (b"said", "0000.out")
        for other in taken:
            if other is not one:
                outputs.close(other, "")
    os.close(held)
    assert (places[1] / "0000.out").read_bytes() == b"said"
    assert list(places[0].iterdir()) == []


async def test_what_a_phase_was_told_is_not_in_memory_any_more_when_it_is_over(
    both: Hooks,
) -> None:
    """An environment may be large: it must not be there until somebody looks for garbage."""
    for number in range(10):
        both.script(f"{number:02d}", "sleep 0.1" if number == 5 else "exit 0")
    gc.collect()
    gc.disable()
    try:
        await both.run()
        # Who watched the one that took long may just be ending.
        await asyncio.to_thread(eventually, "nothing holds it", lambda: not _runs())
    finally:
        gc.enable()


def _runs() -> list[object]:
    return [one for one in gc.get_objects() if isinstance(one, scripts._Run)]
