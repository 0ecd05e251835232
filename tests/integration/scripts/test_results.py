"""What is said of a script, whatever it does."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from tests.integration.scripts.conftest import PRE, Hooks, gone

from gantry.host.daemon import identity
from gantry.model import timeouts
from gantry.model.orders import ScriptStatus


@pytest.fixture
def hooks(both: Hooks) -> Hooks:
    return both


FAILED, SKIPPED, SUCCEEDED = ScriptStatus.FAILED, ScriptStatus.SKIPPED, ScriptStatus.SUCCEEDED
HALF = 512 * 1024
HARMLESS = {
    signal.SIGCHLD,
    signal.SIGCONT,
    signal.SIGURG,
    signal.SIGWINCH,
    # A script has a session of its own, whose process group nobody could wake again.
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
}


async def test_only_exit_status_0_is_success(hooks: Hooks) -> None:
    for status in range(256):
        hooks.script(f"{status:03d}", f"exit {status}")
    results = await hooks.run()
    assert [result.exit_status for result in results] == list(range(256))
    assert [result.status for result in results] == [SUCCEEDED] + [FAILED] * 255
    assert all(result.signal is None and not result.problem for result in results)


async def test_a_script_that_a_signal_ends_has_failed(hooks: Hooks) -> None:
    numbers = sorted(signal.valid_signals() - {signal.SIGSTOP})
    for number in numbers:
        hooks.script(f"{int(number):02d}", f"kill -{int(number)} $$\nexit 0")
    results = await hooks.run()
    for number, result in zip(numbers, results, strict=True):
        if number in HARMLESS:
            assert (result.status, result.exit_status) == (SUCCEEDED, 0), number
        else:
            assert (result.status, result.signal) == (FAILED, number)
            assert result.exit_status is None


async def test_a_script_that_stops_itself_is_ended_at_its_deadline(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "KILL_GRACE", 0.1)
    hooks.script("10-stop", "kill -STOP $$")
    result = await hooks.only(timeout=0.3)
    assert (result.status, result.signal) == (FAILED, signal.SIGKILL)
    assert "took longer than 0.3 s" in result.problem


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"#!/nowhere/interpreter\n", "No such file or directory"),
        (b"echo no interpreter is named\n", "Exec format error"),
        (b"\x7fELF\x00\x01\x02", "Exec format error"),
        (b"", "Exec format error"),
        (b"#!/bin\n", "Permission denied"),
    ],
)
async def test_what_cannot_be_executed_has_failed(hooks: Hooks, text: bytes, why: str) -> None:
    hooks.script("10-broken", text)
    result = await hooks.only()
    assert result.status is FAILED
    assert result.problem == f"cannot be executed: {why}"
    assert result.exit_status is None and result.signal is None


async def test_what_is_no_script_is_skipped_and_said_why(hooks: Hooks) -> None:
    path = hooks.script("10-good", "exit 0")
    directory = path.parent
    (directory / "20-directory").mkdir()
    (directory / "30-dangling").symlink_to("nowhere")
    (directory / "40-loop").symlink_to("40-loop")
    hooks.script("50-plain").chmod(0o644)
    for name in ("60.sh", "70-backup~", "80-line\n", "90 space", "95-\u00e4", ".hidden"):
        hooks.script(name, "exit 1")
    (directory / "96-fifo").unlink(missing_ok=True)
    os.mkfifo(directory / "96-fifo", 0o755)
    bad = os.fsencode(directory) + b"/97-\xff"
    Path(os.fsdecode(bad)).touch(0o755)
    results = {result.script: result for result in await hooks.run()}
    problems = {name: result.problem for name, result in results.items()}
    named = "its name is not made of letters, digits, _ and -"
    assert problems == {
        "10-good": "",
        "20-directory": "it is not a file",
        "30-dangling": "it cannot be reached: No such file or directory",
        "40-loop": "it cannot be reached: Too many levels of symbolic links",
        "50-plain": "it is not executable",
        "60.sh": named,
        "70-backup~": named,
        "80-line\n": named,
        "90 space": named,
        "95-\u00e4": named,
        "96-fifo": "it is not a file",
        "97-\\udcff": named,
    }
    assert {result.status for name, result in results.items() if name != "10-good"} == {SKIPPED}


async def test_names_may_begin_with_a_dash_and_links_are_followed(hooks: Hooks) -> None:
    hooks.script("-rf", 'echo "$0"')
    target = hooks.script("aside", "echo aside", directory="elsewhere")
    (hooks.base / PRE / "50-link").symlink_to(target)
    dash, link = await hooks.run()
    assert (dash.script, dash.status) == ("-rf", SUCCEEDED)
    assert dash.output == f"{hooks.base}/{PRE}/-rf\n"
    assert (link.script, link.output) == ("50-link", "aside\n")


async def test_output_is_stdout_and_then_stderr(hooks: Hooks) -> None:
    hooks.script("10-both", "echo first >&2; echo second; exit 3")
    result = await hooks.only()
    assert (result.output, result.exit_status) == ("second\nfirst\n", 3)


async def test_a_stream_that_is_opened_by_its_name_stays_whole(hooks: Hooks) -> None:
    hooks.script("10-named", "echo lost >&2; echo named > /dev/stderr; echo numbered, later >&2")
    hooks.script("20-appends", "echo one; echo two >> /dev/stdout; echo three")
    named, appends = await hooks.run()
    # Opening a file for writing empties it; a pipe would not be.
    assert named.output == "named\nnumbered, later\n"
    assert appends.output == "one\ntwo\nthree\n"


async def test_output_that_is_no_text_does_not_deny(hooks: Hooks) -> None:
    hooks.script("10-latin", "printf 'gr\\374n\\000\\033[1m'")
    result = await hooks.only()
    assert result.status is SUCCEEDED
    assert result.output == "gr\N{REPLACEMENT CHARACTER}n\x00\x1b[1m"


async def test_of_much_output_the_beginning_and_the_end_are_kept(hooks: Hooks) -> None:
    hooks.script("10-much", "echo begin; head -c 104857600 /dev/zero | tr '\\0' x; echo; echo end")
    result = await hooks.only(timeout=100)
    assert (result.status, result.truncated) == (SUCCEEDED, True)
    start, gap, end = result.output.partition("\n[... output left out ...]\n")
    assert gap and (len(start), len(end)) == (HALF, HALF)
    assert start.startswith("begin\nxxx") and end.endswith("xxx\nend\n")


async def test_output_up_to_1_mib_is_whole(hooks: Hooks) -> None:
    hooks.script("10-enough", f"head -c {2 * HALF} /dev/zero | tr '\\0' x")
    result = await hooks.only()
    assert (result.output, result.truncated) == ("x" * 2 * HALF, False)


async def test_a_script_that_closes_its_streams_is_waited_for(hooks: Hooks) -> None:
    hooks.script("10-closes", "exec <&- >&- 2>&-; exit 4")
    assert (await hooks.only()).exit_status == 4


async def test_a_background_child_holds_nobody_up_and_goes_on(hooks: Hooks, tmp_path: Path) -> None:
    said = tmp_path / "pid"
    hooks.script("10-daemon", f"sleep 1000 & echo $! > {said}; echo done")
    hooks.script("20-next", "echo next")
    began = time.monotonic()
    first, second = await hooks.run()
    assert time.monotonic() - began < 20
    child = int(said.read_text())
    try:
        assert (first.output, second.output) == ("done\n", "next\n")
        assert identity(child) is not None
    finally:
        os.kill(child, signal.SIGKILL)


async def test_a_script_is_ended_with_its_children_at_its_deadline(
    hooks: Hooks, tmp_path: Path
) -> None:
    said = tmp_path / "pid"
    hooks.script("10-long", f"sleep 1000 & echo $! > {said}; echo begun; wait")
    hooks.script("20-next", "exit 0")
    long, following = await hooks.run(timeout=0.5)
    assert (long.status, long.signal, long.output) == (FAILED, signal.SIGTERM, "begun\n")
    assert long.problem == "took longer than 0.5 s and was ended"
    assert gone(int(said.read_text()))
    assert following.status is SUCCEEDED


async def test_a_script_that_ignores_the_request_to_end_is_killed(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "KILL_GRACE", 0.1)
    hooks.script("10-deaf", "trap '' TERM HUP INT; while :; do sleep 1000; done")
    result = await hooks.only(timeout=0.3)
    assert (result.status, result.signal) == (FAILED, signal.SIGKILL)
    assert result.duration < 10


async def test_a_script_that_ends_well_after_its_deadline_has_failed(hooks: Hooks) -> None:
    hooks.script("10-orderly", "trap 'exit 0' TERM; sleep 1000 & wait")
    result = await hooks.only(timeout=0.3)
    assert (result.status, result.exit_status) == (FAILED, 0)
    assert "took longer" in result.problem
