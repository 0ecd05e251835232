"""A script that is ended is given time to tidy up, and so is all that it started."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.scripts.conftest import Hooks, gone

from gantry.model import timeouts


@pytest.fixture
def hooks(both: Hooks) -> Hooks:
    return both


TIDY = """sh -c 'trap "sleep 0.3; echo tidy > {said}; exit" TERM
echo $$ > {pid}; sleep 1000 & wait' &
while ! [ -s {pid} ]; do :; done
"""


@pytest.mark.parametrize("leader", ["wait", "trap 'exit 1' TERM; wait", "exec sleep 1000"])
async def test_children_have_the_grace_that_their_script_does_not_need(
    hooks: Hooks, tmp_path: Path, leader: str
) -> None:
    said, pid = tmp_path / "said", tmp_path / "pid"
    hooks.script("10-long", TIDY.format(said=said, pid=pid) + leader)
    result = await hooks.only(timeout=1.0)
    assert "took longer" in result.problem
    assert gone(int(pid.read_text()))
    assert said.read_text() == "tidy\n"


async def test_children_that_ignore_the_request_are_killed(
    hooks: Hooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "KILL_GRACE", 0.2)
    pid = tmp_path / "pid"
    hooks.script(
        "10-long", f"sh -c 'trap \"\" TERM; echo $$ > {pid}; sleep 1000; sleep 1000' & wait"
    )
    result = await hooks.only(timeout=1.0)
    assert "took longer" in result.problem
    assert gone(int(pid.read_text()))
