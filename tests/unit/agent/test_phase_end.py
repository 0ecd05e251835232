"""A phase ends in the ledger together with its last results, or else when it is closed."""

from __future__ import annotations

import time
from pathlib import Path

import apsw
from tests.support.hook_runs import order, ran, result

from gantry.agent.ledger import DATABASE, Ledger
from gantry.host.listing import DIRECTORY
from gantry.model.hook_orders import Stream
from gantry.model.hook_runs import ReadHookRuns

NODE = "node1.example.com"


def scripts(root: Path, *names: str) -> None:
    """Those are in the phase's directory."""
    directory = root / DIRECTORY / "instance-start-pre.d"
    directory.mkdir(parents=True)
    for name in names:
        (directory / name).write_text("#!/bin/sh\n")
        (directory / name).chmod(0o755)


def after_a_kill(root: Path) -> list[tuple[str, str]]:
    """What the next agent has of it: each script, and what is said of it."""
    ledger = Ledger(root, NODE)
    ledger.recover()
    found = ledger.page(ReadHookRuns()).runs
    ledger.close()
    return [(one.result.script, one.result.problem) for one in found]


def test_killed_after_its_last_results_it_was_not_interrupted(tmp_path: Path) -> None:
    """Those that follow in the directory were not to be run any more, say after a cancel."""
    scripts(tmp_path, "10-a", "20-b", "30-c")
    phase = Ledger(tmp_path, NODE).phase(order())
    phase.ended(result("10-a"))
    phase.ended(result("20-b"), last=True)
    assert after_a_kill(tmp_path) == [("10-a", ""), ("20-b", "")]


def test_killed_before_its_last_results_it_was_interrupted(tmp_path: Path) -> None:
    scripts(tmp_path, "10-a", "20-b")
    phase = Ledger(tmp_path, NODE).phase(order())
    phase.ended(result("10-a"))
    [first, (script, problem)] = after_a_kill(tmp_path)
    assert first == ("10-a", "") and script == "20-b" and problem


def test_what_all_of_its_scripts_wrote_counts(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE)
    phase = ledger.phase(order())
    one, two = Stream(size=3, file="0.out"), Stream(size=4, file="1.out")
    phase.ended(result("10-a", stdout=one))
    phase.ended(result("20-b", stdout=two), last=True)
    # Bounds are looked at now and then, also between a phase's last results and its end.
    ledger.prune(time.time())
    phase.close()
    assert ledger._size == 7
    [(size,)] = apsw.Connection(str(tmp_path / DATABASE)).execute("SELECT size FROM phases")
    assert size == 7


def test_where_its_last_results_cannot_be_kept_it_ends_all_the_same(tmp_path: Path) -> None:
    scripts(tmp_path, "10-a", "20-b")
    ledger = Ledger(tmp_path, NODE)
    phase = ledger.phase(order())
    phase.ended(result("10-a"))
    other = apsw.Connection(str(tmp_path / DATABASE))
    other.execute("CREATE TRIGGER full BEFORE INSERT ON runs BEGIN SELECT RAISE(FAIL, 'x'); END")
    phase.ended(result("20-b"), last=True)
    other.execute("DROP TRIGGER full")
    other.close()
    phase.close()
    answer = phase.finished(ran(result("10-a"), result("20-b")))
    assert [bool(one.run) for one in answer.results] == [True, False]
    ledger.close()
    assert after_a_kill(tmp_path) == [("10-a", "")]
