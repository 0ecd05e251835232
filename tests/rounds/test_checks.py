"""The checks of a round find what they are there for, and plans repeat."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.rounds.checks import Line, journal, one_master_at_a_time, promises_kept
from tests.rounds.clients import Promise
from tests.rounds.hooks import Record, Told, inconsistencies, repeated, unasked, untold
from tests.rounds.plan import ETCD, SQLITE, plan

BEGIN = datetime(2026, 1, 1)
LINE = Told(
    job=7, run="r", attempt=1, path="instance-add", phase="pre", name="a", node="node1", place=0
)


def begun(node: int, second: float, epoch: int) -> Line:
    return Line(node, BEGIN + timedelta(seconds=second), epoch, "job/0/start")


@pytest.mark.parametrize("kinds", [SQLITE, ETCD])
def test_a_seed_is_always_the_same_round_and_all_kinds_come_first_in_turn(
    kinds: tuple[object, ...],
) -> None:
    rounds = [plan(seed, kinds, 3.0) for seed in range(len(kinds))]  # type: ignore[arg-type]
    assert rounds == [plan(seed, kinds, 3.0) for seed in range(len(kinds))]  # type: ignore[arg-type]
    assert {one[0].kind for one in rounds} == set(kinds)


def test_an_agent_that_goes_back_to_an_older_master_is_found() -> None:
    one_master_at_a_time([[begun(1, 0, 3), begun(1, 1, 4)]], fenced=True)
    with pytest.raises(AssertionError, match="epoch 3 after 4"):
        one_master_at_a_time([[begun(1, 0, 4), begun(1, 1, 3)]], fenced=False)


def test_an_agent_that_obeys_the_older_master_while_another_obeys_the_newer_is_found() -> None:
    journals = [[begun(1, 0, 3), begun(1, 2, 3)], [begun(2, 1, 4)]]
    one_master_at_a_time(journals, fenced=False)
    with pytest.raises(AssertionError, match="began after"):
        one_master_at_a_time(journals, fenced=True)


def test_a_promise_that_is_not_known_is_found() -> None:
    kept, lost = Promise(1, 5.0, 0, ()), Promise(2, 6.0, 0, ())
    promises_kept([kept], [{"id": 1}])
    promises_kept([kept, lost], [{"id": 1}], since=7.0)
    with pytest.raises(AssertionError, match="job=2"):
        promises_kept([kept, lost], [{"id": 1}])


def test_a_story_that_does_not_fit_together_is_found() -> None:
    post = replace(LINE, phase="post", place=1)
    assert inconsistencies([LINE, post], []) == []
    again = replace(LINE, attempt=2, place=1)
    assert inconsistencies([LINE, again, replace(post, attempt=2, place=2)], []) == []
    assert unasked([post]) == {7} and unasked([LINE, post]) == set()
    assert "was denied" in inconsistencies([LINE, post], [7])[0]
    assert "several run ids" in inconsistencies([LINE, replace(post, run="q")], [])[0]
    assert "attempt 1 after 1" in inconsistencies([LINE, replace(LINE, place=1)], [])[0]


def test_a_failure_that_a_node_was_not_told_of_is_found() -> None:
    first = replace(LINE, phase="fail", place=1)
    second = replace(first, script="60-told", place=2)
    assert untold([LINE, first, second], [7]) == set()
    assert untold([LINE], [8]) == set()
    assert untold([LINE, first], [7]) == {(7, "node1")}
    assert (
        "post scripts and fail"
        in inconsistencies([LINE, replace(LINE, phase="post"), first], [])[0]
    )


def test_a_fail_script_that_ran_again_after_it_was_recorded_is_found() -> None:
    line = replace(LINE, phase="fail")
    whole = Record(job=7, attempt=1, node="node1", script="50-told", serial=1, whole=True)
    broken = replace(whole, whole=False)
    assert repeated([line], [whole]) == []
    assert (
        repeated([line, replace(line, attempt=2)], [broken, replace(whole, attempt=2, serial=2)])
        == []
    )
    assert repeated([line], [whole, replace(whole, serial=2)])
    assert repeated([line], [whole, replace(broken, serial=2)])
    assert repeated([line, replace(line, attempt=2)], [whole])
    assert repeated([line, replace(line, script="60-told", attempt=2)], [whole]) == []


def test_an_agents_log_is_read_over_its_rotation(tmp_path: Path) -> None:
    logs = tmp_path / "var/log/gantry"
    logs.mkdir(parents=True)
    line = "time=2026-01-01T00:00:0{}.000 level=INFO logger=gantry.agent.effects {}\n"
    logs.joinpath("agent.log.1").write_text(line.format(1, "new epoch=3"))
    logs.joinpath("agent.log").write_text(line.format(2, "begun effect=j/0/start epoch=3"))
    found = journal(tmp_path, 1)
    assert [(one.epoch, one.effect) for one in found] == [(3, ""), (3, "j/0/start")]
