"""What a ledger says of scripts that have been told of a failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.support.hook_runs import failed, order, result

from gantry.agent.ledger import Bounds, Ledger
from gantry.hooks.disabled import PREFIX
from gantry.hooks.record import CANCELLED, INTERRUPTED
from gantry.host.listing import DIRECTORY
from gantry.model.hook_orders import (
    HookDirectory,
    HooksRun,
    Kept,
    ScriptResult,
    ScriptStatus,
    Stream,
)
from gantry.model.hook_runs import Origin, ReadHookRuns

NODE = "node1.example.com"
FAIL = "instance-start-fail.d"


def failure(*directories: str, **changes: Any) -> HooksRun:
    named = directories or (FAIL,)
    return order(directories=tuple(HookDirectory(name=one, version=2) for one in named), **changes)


def record(ledger: Ledger, given: HooksRun, *results: ScriptResult) -> None:
    phase = ledger.phase(given)
    for one in results:
        phase.ended(one)
    phase.close()


def known(ledger: Ledger, given: HooksRun) -> list[str]:
    """The scripts that would not be run again."""
    phase = ledger.phase(given)
    phase.close()
    return [f"{directory}/{script}" for directory, script in phase.done]


def test_what_has_a_result_is_known_by_run_directory_and_script(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE)
    record(ledger, failure(), result("10-a", directory=FAIL), failed("20-b", directory=FAIL))
    assert known(ledger, failure(attempt=2)) == [f"{FAIL}/10-a", f"{FAIL}/20-b"]
    assert known(Ledger(tmp_path, NODE), failure()) == [f"{FAIL}/10-a", f"{FAIL}/20-b"]
    assert known(ledger, failure(run_id="run-8")) == []
    assert known(ledger, failure("instance-stop-fail.d")) == []


@pytest.mark.parametrize("directory", ["instance-start-pre.d", "instance-start-post.d"])
def test_scripts_of_other_phases_may_always_run_again(tmp_path: Path, directory: str) -> None:
    ledger = Ledger(tmp_path, NODE)
    record(ledger, failure(directory), result("10-a", directory=directory))
    assert known(ledger, failure(directory, attempt=2)) == []


@pytest.mark.parametrize(
    "one",
    [
        failed("10-a", directory=FAIL, problem=INTERRUPTED),
        failed("10-a", directory=FAIL, problem=CANCELLED),
        result("10-a", directory=FAIL, status=ScriptStatus.SKIPPED, problem=f"{PREFIX} today"),
    ],
)
def test_what_did_not_come_to_its_end_is_not_known(tmp_path: Path, one: ScriptResult) -> None:
    ledger = Ledger(tmp_path, NODE)
    record(ledger, failure(), one)
    assert known(ledger, failure(attempt=2)) == []
    record(ledger, failure(attempt=2), result("10-a", directory=FAIL))
    assert known(ledger, failure(attempt=3)) == [f"{FAIL}/10-a"]


def test_it_comes_with_its_output_and_stays_the_record_of_its_attempt(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE)
    phase = ledger.phase(failure())
    assert phase.outputs is not None
    phase.outputs.mkdir(parents=True)
    (phase.outputs / "0.out").write_text("yes\n")
    phase.ended(result("10-a", directory=FAIL, stdout=Stream(size=4, file="0.out")))
    phase.close()
    again = ledger.phase(failure(attempt=2))
    [one] = again.done.values()
    assert one.output == "yes\n"
    again.ended(one)
    again.close()
    [kept] = ledger.page(ReadHookRuns()).runs
    assert (kept.attempt, kept.id) == (1, one.run)
    assert again._kept == Kept(ledger.page(ReadHookRuns()).kept.ledger, 1, 1)


def test_the_second_kill_interrupts_what_ran_then_and_not_what_was_done(tmp_path: Path) -> None:
    scripts = tmp_path / DIRECTORY / FAIL
    scripts.mkdir(parents=True)
    for name in ("10-a", "20-b"):
        (scripts / name).write_text("#!/bin/sh\n")
        (scripts / name).chmod(0o755)
    record(ledger := Ledger(tmp_path, NODE), failure(), result("10-a", directory=FAIL))
    ledger.phase(failure(attempt=2))
    ledger.close()
    Ledger(tmp_path, NODE).recover()
    runs = Ledger(tmp_path, NODE).page(ReadHookRuns()).runs
    assert [(one.result.script, one.result.problem) for one in runs] == [
        ("10-a", ""),
        ("20-b", INTERRUPTED),
    ]


def test_what_is_only_tried_neither_counts_nor_is_kept_from_running(tmp_path: Path) -> None:
    ledger, trial = Ledger(tmp_path, NODE), Ledger(tmp_path, NODE, origin=Origin.TEST)
    record(trial, failure(), result("10-a", directory=FAIL))
    assert known(ledger, failure()) == []
    record(ledger, failure(), result("10-a", directory=FAIL))
    assert known(trial, failure()) == []


def test_with_the_runs_it_is_forgotten_which_were_of_a_failure(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE, Bounds(days=1.0))
    record(ledger, failure(), result("10-a", directory=FAIL))
    ledger.prune(2_000_000_000.0)
    # The next phase may get the number of the one that is gone.
    record(ledger, order(run_id="run-8"), result("10-a", directory=FAIL))
    assert known(ledger, failure(attempt=2)) == []
