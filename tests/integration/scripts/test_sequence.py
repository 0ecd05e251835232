"""Which scripts run, in which order, and what one does to those after it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.integration.scripts.conftest import PRE, Hooks

from gantry.host.daemon import Identity, identity
from gantry.host.scripts import listing, run_hooks
from gantry.model.orders import ScriptResult, ScriptStatus


@pytest.fixture
def hooks(both: Hooks) -> Hooks:
    return both


OLD, NEW = "instance-shutdown-pre.d", "instance-stop-pre.d"
BOTH = ((OLD, 1), (NEW, 2))


def names(results: tuple[ScriptResult, ...]) -> list[str]:
    return [f"{result.directory}/{result.script}" for result in results]


async def test_no_directory_is_no_result(hooks: Hooks) -> None:
    assert await hooks.run() == ()


async def test_a_file_in_the_place_of_the_directory_is_no_result(hooks: Hooks) -> None:
    (hooks.base / PRE).write_text("no directory")
    assert await hooks.run() == ()


async def test_scripts_run_in_the_order_in_which_python_sorts_names(hooks: Hooks) -> None:
    for name in ("b", "9x", "10x", "Z", "a", "_", "-"):
        hooks.script(name)
    assert [one.script for one in await hooks.run()] == ["-", "10x", "9x", "Z", "_", "a", "b"]


async def test_a_thousand_scripts_all_run(hooks: Hooks) -> None:
    for number in range(1000):
        hooks.script(f"{number:03d}", f"echo {number}")
    results = await hooks.run()
    assert [result.output for result in results] == [f"{number}\n" for number in range(1000)]


async def test_a_script_that_fails_keeps_none_from_running(hooks: Hooks) -> None:
    hooks.script("10-no", "exit 1")
    hooks.script("20-yes", "exit 0")
    assert [one.exit_status for one in await hooks.run()] == [1, 0]


async def test_two_directories_are_one_sequence_each_script_in_its_version(hooks: Hooks) -> None:
    for directory, name in ((NEW, "10-a"), (OLD, "20-b"), (NEW, "20-b"), (OLD, "05-c")):
        hooks.script(name, 'echo "$GANETI_HOOKS_VERSION"', directory)
    results = await hooks.run(*BOTH)
    assert names(results) == [f"{OLD}/05-c", f"{NEW}/10-a", f"{OLD}/20-b", f"{NEW}/20-b"]
    assert [result.output for result in results] == ["1\n", "2\n", "1\n", "2\n"]


@pytest.mark.parametrize(("main", "kept"), [(1, OLD), (2, NEW)])
async def test_a_file_in_both_directories_runs_once_in_the_clusters_version(
    hooks: Hooks, main: int, kept: str
) -> None:
    path = hooks.script("50-site", 'echo "$GANETI_HOOKS_VERSION"', OLD)
    (hooks.base / NEW).mkdir()
    (hooks.base / NEW / "60-site").symlink_to(path)
    [result] = await hooks.run(*BOTH, main=main)
    assert (result.directory, result.output) == (kept, f"{main}\n")


async def test_a_directory_under_both_names_runs_once(hooks: Hooks) -> None:
    hooks.script("10-a", directory=NEW)
    hooks.script("20-b", directory=NEW)
    (hooks.base / OLD).symlink_to(NEW)
    assert names(await hooks.run(*BOTH)) == [f"{NEW}/10-a", f"{NEW}/20-b"]


async def test_several_names_for_a_program_in_one_directory_all_run(hooks: Hooks) -> None:
    program = hooks.script("10-one", 'basename "$0"')
    (hooks.base / PRE / "20-two").symlink_to(program)
    (hooks.base / PRE / "30-three").hardlink_to(program)
    assert [one.output for one in await hooks.run()] == ["10-one\n", "20-two\n", "30-three\n"]


async def test_a_script_may_remove_its_directory(hooks: Hooks) -> None:
    hooks.script("10-removes", 'rm -r "${0%/*}"; echo removed')
    hooks.script("20-gone")
    removes, gone = await hooks.run()
    assert (removes.status, removes.output) == (ScriptStatus.SUCCEEDED, "removed\n")
    assert gone.status is ScriptStatus.SKIPPED
    assert gone.problem == "it cannot be reached: No such file or directory"


async def test_a_script_may_switch_off_a_later_one(hooks: Hooks) -> None:
    hooks.script("10-switch", 'chmod -x "${0%/*}/20-off"')
    hooks.script("20-off", "exit 1")
    assert (await hooks.run())[1].status is ScriptStatus.SKIPPED


async def test_each_process_is_told_while_it_runs(hooks: Hooks, tmp_path: Path) -> None:
    told: list[tuple[Identity, Identity | None]] = []

    def started(which: Identity) -> None:
        told.append((which, identity(which.pid)))
        (tmp_path / str(which.pid)).touch()

    wait = f"echo $$; while ! [ -e {tmp_path}/$$ ]; do sleep 0.01; done"
    hooks.script("10-a", wait)
    hooks.script("20-b", wait)
    results = await hooks.run(on_started=started)
    assert [int(result.output) for result in results] == [which.pid for which, _ in told]
    assert all(which == seen for which, seen in told)


async def test_a_cancellation_ends_the_script_and_starts_no_other(
    hooks: Hooks, tmp_path: Path
) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    pids: list[int] = []

    def started(which: Identity) -> None:
        pids.append(which.pid)
        loop.call_soon_threadsafe(begun.set)

    hooks.script("10-long", "sleep 1000")
    hooks.script("20-next", f"touch {tmp_path}/next")
    task = asyncio.create_task(hooks.run(on_started=started, timeout=100))
    await asyncio.wait_for(begun.wait(), 100)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [identity(pid) for pid in pids] == [None]
    assert not (tmp_path / "next").exists()


async def test_no_room_for_output_is_a_failure_of_the_script(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hooks.script("10-check")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    result = await Hooks(hooks.base).only()
    assert result.status is ScriptStatus.FAILED
    assert result.problem.startswith("cannot be executed: no file for its output")


async def test_nothing_is_left_open(hooks: Hooks) -> None:
    hooks.script("10-a", "echo a")
    await hooks.run()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        await hooks.run()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


async def test_a_directory_that_cannot_be_listed_is_a_failure(hooks: Hooks) -> None:
    """What it holds may deny, and nobody can say."""
    (hooks.base / PRE).symlink_to(PRE)
    [result] = await hooks.run()
    assert (result.directory, result.script, result.status) == (PRE, "", ScriptStatus.FAILED)
    assert result.problem == "the directory cannot be read: Too many levels of symbolic links"


async def test_a_directory_that_is_elsewhere_and_not_there_is_a_failure(
    hooks: Hooks, tmp_path: Path
) -> None:
    """Such as on a file system that is not mounted: what is on it may deny."""
    (hooks.base / PRE).symlink_to(tmp_path / "mnt" / PRE)
    [result] = await hooks.run()
    problem = "the directory cannot be read: a symbolic link leads nowhere"
    assert (result.status, result.problem) == (ScriptStatus.FAILED, problem)
    (tmp_path / "mnt" / PRE).mkdir(parents=True)
    assert await hooks.run() == ()
    (hooks.base / PRE).unlink()
    hooks.base.rename(tmp_path / "mnt/hooks")
    hooks.base.symlink_to(tmp_path / "mnt/hooks")
    assert await hooks.run() == ()
    (tmp_path / "mnt").rename(tmp_path / "gone")
    [result] = await hooks.run()
    assert (result.status, result.problem) == (ScriptStatus.FAILED, problem)


async def test_scripts_of_the_other_directory_run_nevertheless(hooks: Hooks) -> None:
    (hooks.base / OLD).symlink_to(OLD)
    hooks.script("10-a", "echo ran", NEW)
    results = await hooks.run(*BOTH)
    assert {one.directory: one.status for one in results} == {
        OLD: ScriptStatus.FAILED,
        NEW: ScriptStatus.SUCCEEDED,
    }


UNREADABLE = """
import asyncio, concurrent.futures.thread, os, sys
from pathlib import Path
from gantry.host.scripts import run_hooks
from tests.integration.scripts.conftest import Hooks
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(asyncio.run(run_hooks(Path(sys.argv[1]), Hooks.order(), {})).results)
"""


def test_a_directory_without_rights_is_a_failure(hooks_for_all: Hooks) -> None:
    hooks = hooks_for_all
    hooks.script("10-a").parent.chmod(0o000)
    done = subprocess.run(
        [sys.executable, "-c", UNREADABLE, str(hooks.base)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    (hooks.base / PRE).chmod(0o755)
    assert "the directory cannot be read: Permission denied" in done.stdout, done.stderr


async def test_the_listing_is_what_a_run_meets(hooks: Hooks) -> None:
    hooks.script("20-b")
    hooks.script("10.a")
    found = listing(hooks.base, hooks.order())
    results = (await run_hooks(hooks.base, hooks.order(), {})).results
    assert [one.name for one in found] == [one.script for one in results] == ["10.a", "20-b"]


@pytest.mark.parametrize("more", [0, 20])
async def test_signals_that_the_agent_ignores_are_not_ignored_by_scripts(
    hooks: Hooks, more: int
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        hooks.script("10-hangs-up", "kill -HUP $$; exit 0")
        hooks.script("20-pipe", "kill -PIPE $$; exit 0")
        for number in range(more):
            hooks.script(f"30-{number}", "exit 0")
        results = await hooks.run()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert [one.signal for one in results] == [signal.SIGHUP, signal.SIGPIPE, *[None] * more]
