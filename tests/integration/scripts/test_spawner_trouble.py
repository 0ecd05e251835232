"""What may befall the process that starts scripts: none runs twice, and none fails for nothing."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.scripts.conftest import Hooks, gone, spawned, still_open

from gantry.host import scripts_ahead, spawner
from gantry.host.daemon import Identity
from gantry.host.scripts import How, run_hooks
from gantry.host.spawner import MANY, Borrowed
from gantry.model.orders import ScriptResult, ScriptStatus

COUNT = MANY + 6
OK, FAILED = ScriptStatus.SUCCEEDED, ScriptStatus.FAILED
REPOSITORY = Path(__file__).parents[3]


pytestmark = pytest.mark.usefixtures("known_at_once")


def prepared(hooks: Hooks) -> How:
    return {**spawned(hooks.base), "exchange": hooks.base.parent / "run"}


async def ran(hooks: Hooks, how: How) -> tuple[ScriptResult, ...]:
    return (await run_hooks(hooks.base, hooks.order(), {}, **how)).results


def counting(hooks: Hooks, count: int = COUNT) -> None:
    """Scripts that leave a line each time that they run."""
    for number in range(count):
        hooks.script(f"{number:02d}", f"echo $$ >> {_trace(hooks, number)}; exit 0")


def _trace(hooks: Hooks, number: int) -> Path:
    return hooks.base.parent / f"ran-{number:02d}"


def each_once(hooks: Hooks) -> bool:
    return all(len(_trace(hooks, one).read_text().split()) == 1 for one in range(COUNT))


def failures(results: tuple[ScriptResult, ...]) -> list[str]:
    return [one.script for one in results if one.status is not OK]


@pytest.mark.parametrize("room", [0, socket.CMSG_LEN(4)], ids=["none", "one"])
async def test_where_we_have_no_room_for_its_files_none_runs_twice(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    counting(hooks)
    hooks.script("03", f"echo $$ >> {_trace(hooks, 3)}; echo said; exit 3")
    hooks.script("09", f"echo $$ >> {_trace(hooks, 9)}; echo said; sleep 0.5")
    how = prepared(hooks)
    # As when too many files are open: the kernel gives those for which there is room.
    monkeypatch.setattr(spawner, "_FILES", room)
    results = await ran(hooks, how)
    assert not still_open(hooks.base.parent)
    assert failures(results) == ["03"]
    assert results[3].exit_status == 3
    for number in (3, 9):
        assert not results[number].output
        assert "too many open files" in results[number].warnings[0]
    assert each_once(hooks)


DRIVER = """
import asyncio, os, resource, sys, time
from pathlib import Path
from tests.integration.scripts.conftest import Hooks, spawned
from gantry.host import digests
from gantry.host.script_results import Results
from gantry.host.scripts import run_hooks
digests.FRESH = 0
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
made = Results.of_all
def slow(self, ended):
    time.sleep(1.5 if ended[0].number == 0 else 0)
    return made(self, ended)
Results.of_all = slow
base = Path(sys.argv[1])
starters = []
how = spawned(base) | {"on_starter": starters.append}
for one in asyncio.run(run_hooks(base, Hooks.order(), {}, **how)).results:
    assert starters
    print(one.script, one.status.value, one.output.strip(), one.problem, *one.warnings)
"""


def test_more_files_under_way_than_a_user_may_have_open_are_waited_for(hooks: Hooks) -> None:
    count = 150
    for number in range(count):
        hooks.script(f"{number:03d}", "echo said ${0##*/}")
    argv = [sys.executable, "-c", DRIVER, str(hooks.base)]
    if os.geteuid() == 0:  # who has these may have any number
        without = ["--bounding-set=-sys_resource,-sys_admin", "--inh-caps=-all"]
        argv = ["setpriv", *without, *argv]
    environment = {"PYTHONPATH": str(REPOSITORY), "PATH": os.environ["PATH"]}
    done = subprocess.run(argv, env=environment, timeout=100, check=True, capture_output=True)
    expected = [f"{n:03d} {OK.value} said {n:03d}" for n in range(count)]
    assert [one.strip() for one in done.stdout.decode().splitlines()] == expected


async def test_where_it_was_killed_before_it_was_asked_nothing_fails(hooks: Hooks) -> None:
    counting(hooks)
    how = prepared(hooks)
    with Borrowed(MANY) as borrowed:
        assert borrowed.spawner is not None
        pid = borrowed.spawner.identity.pid
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    assert failures(await ran(hooks, how)) == []
    assert each_once(hooks)


async def test_where_it_goes_just_before_it_is_asked_we_run_all(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting(hooks)
    how = prepared(hooks)

    def killed(which: Identity) -> None:
        os.kill(which.pid, signal.SIGKILL)
        assert gone(which.pid)

    assert failures(await ran(hooks, {**how, "on_starter": killed})) == []
    assert each_once(hooks)


async def test_a_script_that_stops_it_holds_nobody_up(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawner, "PATIENCE", 3.0)
    counting(hooks)
    hooks.script("09", f"echo $$ >> {_trace(hooks, 9)}; kill -STOP $PPID; sleep 500")
    starters: list[Identity] = []
    results = await ran(hooks, {**prepared(hooks), "on_starter": starters.append})
    assert failures(results) == ["09"]
    assert each_once(hooks)
    assert gone(int(_trace(hooks, 9).read_text())), "the script runs still"
    assert gone(starters[0].pid), "it is stopped still"


async def test_where_there_is_no_room_for_notes_none_runs_twice(hooks: Hooks) -> None:
    counting(hooks)
    once = f"[ $(wc -l < {_trace(hooks, 9)}) -gt 1 ] || kill -9 $PPID"
    hooks.script("09", f"echo $$ >> {_trace(hooks, 9)}; {once}; sleep 5")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Room for five of them, or nearly six.
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        how = prepared(hooks)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failures(await ran(hooks, how)) == ["09"]
    assert each_once(hooks)


async def test_it_is_not_asked_in_vain_for_each_of_many(hooks: Hooks, asked: list[int]) -> None:
    count = 150
    for number in range(count):
        hooks.script(f"{number:03d}", b"neither a program nor a script\n")
    results = await ran(hooks, prepared(hooks))
    assert [one.status for one in results] == [FAILED] * count
    assert 2 <= len(asked) <= 5


async def test_not_too_many_are_asked_for_together(
    hooks: Hooks, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts_ahead, "MOST", 20)
    counting(hooks)
    assert failures(await ran(hooks, prepared(hooks))) == []
    assert each_once(hooks)
    assert sum(asked) >= COUNT - 2 and max(asked) == 20


async def test_what_scripts_put_in_the_place_of_the_context_is_left_alone(
    hooks: Hooks, asked: list[int]
) -> None:
    other = hooks.base.parent / "other"
    other.write_text("a" * 100)
    counting(hooks)
    hooks.script("08", f"rm $GANTRY_CONTEXT; ln -s {other} $GANTRY_CONTEXT")
    hooks.script("09", b"neither a program nor a script\n")
    results = await ran(hooks, prepared(hooks))
    assert failures(results) == ["09"]
    assert len(asked) == 2, "nothing was begun with the other one"
    assert other.read_text() == "a" * 100


LOOKING = """
import os, sys
place = f"/proc/{sys.argv[1]}/fd"
print(flush=True)
while True:
    for name in os.listdir(place):
        try:
            os.close(os.open(f"{place}/{name}", os.O_RDONLY | os.O_NONBLOCK))
        except OSError:
            pass
"""


async def test_who_opens_its_files_does_it_no_harm(hooks: Hooks) -> None:
    """A lease that is broken is told by a signal, which ends who is not ready for it."""
    for number in range(300):
        hooks.script(f"{number:03d}", "exit 0")
    how = spawned(hooks.base)
    starters: list[Identity] = []
    how["on_starter"] = starters.append
    await run_hooks(hooks.base, hooks.order(), {}, **how)
    argv = [sys.executable, "-I", "-c", LOOKING, str(starters[0].pid)]
    looking = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
    try:
        assert looking.stdout is not None and await looking.stdout.readline()
        ran = [await run_hooks(hooks.base, hooks.order(), {}, **how) for _ in range(5)]
        assert looking.returncode is None
    finally:
        looking.kill()
        await looking.communicate()
    assert {one.status for each in ran for one in each.results} == {ScriptStatus.SUCCEEDED}
    assert set(starters) == {starters[0]}
