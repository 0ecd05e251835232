"""Many short scripts are started by another process; nothing is lost with it or with us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.integration.scripts.conftest import PRE, Hooks, gone, spawned, still_open

from gantry.agent.ended_file import PhaseNotes
from gantry.host import spawner
from gantry.host.daemon import Identity, identity
from gantry.host.listing import listing
from gantry.host.scripts import run_hooks
from gantry.host.spawner import MANY, Borrowed, Spawner
from gantry.host.spawner_program import FEW
from gantry.model.orders import ScriptResult, ScriptStatus

COUNT = MANY + 6
OK = ScriptStatus.SUCCEEDED
REPOSITORY = Path(__file__).parents[3]


pytestmark = pytest.mark.usefixtures("known_at_once")


class Run:
    """A run of a sequence, with what was told of who starts its scripts."""

    def __init__(self, hooks: Hooks) -> None:
        self.hooks = hooks
        self.starters: list[Identity] = []

    async def statuses(self) -> list[ScriptStatus]:
        return [one.status for one in await self.results()]

    async def results(self) -> tuple[ScriptResult, ...]:
        how = spawned(self.hooks.base)
        how["exchange"] = self.hooks.base.parent / "run"
        how["on_starter"] = self.starters.append
        return (await run_hooks(self.hooks.base, self.hooks.order(), {}, **how)).results


def many(hooks: Hooks, text: str = "exit 0", count: int = COUNT) -> None:
    for number in range(count):
        hooks.script(f"{number:02d}", text)


async def test_many_are_started_by_one_process_which_the_next_ones_have_too(hooks: Hooks) -> None:
    many(hooks, "echo $PPID")
    run = Run(hooks)
    for _ in range(2):
        results = await run.results()
        assert {int(one.output) for one in results} == {run.starters[-1].pid}
        assert os.getpid() not in {one.pid for one in run.starters}
    assert len(set(run.starters)) == 1


async def test_few_are_started_by_ourselves(hooks: Hooks) -> None:
    many(hooks, "echo $PPID", FEW - 1)
    assert {int(one.output) for one in await Run(hooks).results()} == {os.getpid()}


def test_it_is_started_when_many_come_at_once_or_soon_after_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spawner, "_one", spawner._One())
    monkeypatch.setattr(spawner, "_LATELY", 100.0)
    with Borrowed(FEW - 1) as few:
        assert few.spawner is None
    with Borrowed(MANY - FEW) as some:
        assert some.spawner is None
    with Borrowed(FEW) as more:
        assert more.spawner is not None
        with Borrowed(MANY) as other:
            assert other.spawner is None, "nobody else has it meanwhile"
    with Borrowed(FEW) as again:
        assert again.spawner is more.spawner


def test_it_is_not_started_for_some_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawner, "_LATELY", -1.0)
    for _ in range(3):
        with Borrowed(MANY - 1) as some:
            assert some.spawner is None
    with Borrowed(MANY) as many_at_once:
        assert many_at_once.spawner is not None


async def test_files_that_nobody_wrote_to_are_used_for_another_directory(
    hooks: Hooks, tmp_path: Path
) -> None:
    said = tmp_path / "said"
    many(hooks, f"readlink /proc/$$/fd/2 >> {said}")
    first = list[str]()
    for turn in range(5):
        (tmp_path / f"node{turn}").mkdir()
        how = spawned(hooks.base)
        how["outputs"] = tmp_path / f"node{turn}/outputs"
        ran = await run_hooks(hooks.base, hooks.order(), {}, **how)
        assert [one.status for one in ran.results] == [OK] * COUNT
        first.append(Path(said.read_text().splitlines()[0]).parent.name)
        said.unlink()
    assert first[0] == "node0"
    # Those of a script that took long, on a busy machine, are not used again.
    assert any(where != f"node{turn}" for turn, where in enumerate(first)), first


async def test_notes_say_of_all_how_they_ended(hooks: Hooks, tmp_path: Path) -> None:
    many(hooks, "exit ${0##*/}")
    hooks.script("05", "kill -9 $$")
    hooks.script("06", "sleep 0.2; exit 3")
    before = time.time()
    results = await Run(hooks).results()
    scripts = dict(enumerate(listing(hooks.base, hooks.order())))
    found = PhaseNotes(tmp_path / "notes", 1, 0.0).ended(scripts)
    assert list(found) == list(range(COUNT))
    for number, (began, ended) in found.items():
        result = results[number]
        assert before <= began == result.started
        assert (ended.exit_status, ended.signal) == (result.exit_status, result.signal)
        assert ended.duration == result.duration
    assert results[5].signal == signal.SIGKILL
    assert [results[6].exit_status, results[7].exit_status] == [3, 7]


async def test_one_that_is_gone_or_cannot_run_any_more_holds_nobody_up(hooks: Hooks) -> None:
    many(hooks)
    base = hooks.base / PRE
    hooks.script(
        "03", f"rm {base}/05; chmod -x {base}/06; echo broken > {base}/07; chmod +x {base}/07"
    )
    statuses = await Run(hooks).statuses()
    assert statuses[5:8] == [ScriptStatus.SKIPPED, ScriptStatus.SKIPPED, ScriptStatus.FAILED]
    assert statuses[:5] + statuses[8:] == [OK] * (COUNT - 3)


@pytest.mark.parametrize("long", [False, True])
async def test_where_that_process_is_killed_one_script_fails_and_none_runs_twice(
    hooks: Hooks, tmp_path: Path, long: bool
) -> None:
    many(hooks, f"echo $$ >> {tmp_path}/ran-${{0##*/}}; exit 0")
    # One that takes long is watched by us: it may go on, but nobody learns how it ends.
    text = "echo said; sleep 0.3; kill -9 $PPID; sleep 0.2" if long else "kill -9 $PPID; sleep 5"
    hooks.script("09", f"echo $$ > {tmp_path}/ran-09; {text}")
    run = Run(hooks)
    results = await run.results()
    assert [one.script for one in results] == [f"{number:02d}" for number in range(COUNT)]
    assert [one.status for one in results] == [
        OK if number != 9 else ScriptStatus.FAILED for number in range(COUNT)
    ]
    assert "was ended while it ran" in results[9].problem
    assert results[9].output == ("said\n" if long else "")
    assert not still_open(tmp_path)
    pids = [(tmp_path / f"ran-{number:02d}").read_text().split() for number in range(COUNT)]
    assert [len(one) for one in pids] == [1] * COUNT
    assert gone(int(pids[9][0])), "the script runs still"
    assert gone(run.starters[0].pid)
    # And there is another one for the next.
    hooks.script("09", "exit 0")
    assert await run.statuses() == [OK] * COUNT
    assert run.starters[-1] != run.starters[0]


DRIVER = """
import asyncio, os, sys
from pathlib import Path
from tests.integration.scripts.conftest import Hooks, spawned
from gantry.host import digests
from gantry.host.scripts import run_hooks
digests.FRESH = 0
base = Path(sys.argv[1])
(base.parent / "agent").write_text(str(os.getpid()))
tell = lambda which: (base.parent / "starter").write_text(str(which.pid))
asyncio.run(run_hooks(base, Hooks.order(), {}, **spawned(base) | {"on_starter": tell}))
"""


@pytest.mark.parametrize("long", [False, True])
def test_where_we_are_killed_it_begins_nothing_more_and_all_is_known(
    hooks: Hooks, tmp_path: Path, long: bool
) -> None:
    many(hooks, f"touch {tmp_path}/ran-${{0##*/}}; exit 0")
    wait = "sleep 0.3; " if long else ""
    hooks.script("09", f"{wait}kill -9 $(cat {tmp_path}/agent); exit 4")
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(hooks.base)],
        env={"PYTHONPATH": str(REPOSITORY)},
        timeout=100,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert gone(int((tmp_path / "starter").read_text()))
    begun = sorted([9, *(int(path.name[4:]) for path in tmp_path.glob("ran-*"))])
    # Who is killed is there for a moment still; one that takes long is ended with nobody left.
    assert begun == list(range(len(begun)))
    assert len(begun) == 10 or not long
    # Of all but the last the next agent knows how they ended, so it runs none of them again.
    scripts = dict(enumerate(listing(hooks.base, hooks.order())))
    found = PhaseNotes(tmp_path / "notes", 1, 0.0).ended(scripts)
    assert begun[:-1] == list(found)[: len(begun) - 1] and len(found) <= len(begun)
    assert 9 not in found or (not long and found[9][1].exit_status == 4)


def test_it_ends_some_time_after_the_last_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawner, "IDLE", 1)
    with Borrowed(MANY) as borrowed:
        assert borrowed.spawner is not None
        first = borrowed.spawner.identity
    assert gone(first.pid)
    assert identity(first.pid) is None, "nobody has waited for it"
    with Borrowed(MANY) as borrowed:
        assert borrowed.spawner is not None and borrowed.spawner.identity != first


def test_it_is_one_and_lent_to_one_at_a_time() -> None:
    with Borrowed(MANY) as first, Borrowed(MANY) as second:
        assert first.spawner is not None and second.spawner is None
    with Borrowed(MANY) as again:
        assert again.spawner is first.spawner


def test_a_copy_of_this_process_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with Borrowed(MANY) as ours:
        assert isinstance(ours.spawner, Spawner)
        child = os.fork()
        if child == 0:
            with Borrowed(MANY) as theirs:
                same = theirs.spawner is None or theirs.spawner.identity == ours.spawner.identity
                os._exit(1 if same else 0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
