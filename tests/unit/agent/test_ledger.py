"""What an agent keeps of every run of a script."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import apsw
import msgspec
import pytest
from tests.support.hook_runs import failed, order, ran, result

from gantry.agent.ended_file import EndedFile
from gantry.agent.interrupted import LOST
from gantry.agent.ledger import DATABASE, ENDED, OUTPUTS, Bounds, Ledger, Phase
from gantry.hooks.disabled import PREFIX
from gantry.hooks.record import INTERRUPTED
from gantry.host.listing import DIRECTORY, Script
from gantry.host.outputs import Outputs
from gantry.host.process import Ended
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.hook_orders import (
    HookDirectory,
    HooksRan,
    HooksRun,
    ScriptResult,
    ScriptStatus,
    Stream,
)
from gantry.model.hook_runs import Origin, ReadHookRuns

NODE = "node1.example.com"
DAY = 86400.0
HOLD = """
import sys, time
from pathlib import Path
from tests.support.hook_runs import order, result
from gantry.agent.ledger import Ledger
phase = Ledger(Path(sys.argv[1]), "node1.example.com").phase(order())
for number in range(3):
    phase.ended(result(f"{number}-script"))
print("recorded", flush=True)
time.sleep(60)
"""


def record(ledger: Ledger, *results: ScriptResult, given: HooksRun | None = None) -> HooksRan:
    """One phase from its beginning to its end."""
    phase = ledger.phase(given or order())
    for one in results:
        phase.ended(one)
    phase.close()
    return phase.finished(ran(*results))


def keep(phase: Phase, name: str, text: str) -> None:
    """A script of the phase has written it."""
    with Outputs(phase.outputs) as made:
        output, _ = made.take()
        os.write(output.descriptor, text.encode())
        made.keep(output, name)
        assert output.name == name


def written(ledger: Ledger, text: str, started: float = 1_800_000_000.0) -> str:
    """A run with that stdout; its id."""
    phase = ledger.phase(order())
    assert phase.outputs is not None
    keep(phase, "0.out", text)
    one = result(started=started, stdout=Stream(size=len(text.encode()), file="0.out"))
    phase.ended(one)
    phase.close()
    return phase.finished(ran(one)).results[0].run


def test_every_script_that_ran_is_recorded_and_named_in_the_answer(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE)
    skipped = result("README", status=ScriptStatus.SKIPPED)
    answer = record(ledger, skipped, result("10-a", output="yes"), failed("20-b"))
    assert [bool(one.run) for one in answer.results] == [False, True, True]
    page = ledger.page(ReadHookRuns())
    assert [one.id for one in page.runs] == [one.run for one in answer.results[1:]]
    first, second = page.runs
    assert (first.operation, first.phase, first.opcode) == (
        "instance-start",
        "pre",
        "OP_INSTANCE_STARTUP",
    )
    assert (first.object, first.node, first.job) == ("web1.example.com", NODE, 7)
    assert first.result.output == ""
    assert second.result.exit_status == 3
    assert answer.kept == page.kept
    assert not page.more


def test_a_script_that_an_operator_has_switched_off_is_recorded_as_missed(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE)
    off = result(status=ScriptStatus.SKIPPED, problem=f"{PREFIX} since today", started=0.0)
    [kept] = record(ledger, off).results
    [found] = ledger.page(ReadHookRuns()).runs
    assert (found.id, found.result.problem) == (kept.run, f"{PREFIX} since today")
    assert found.result.started == kept.started > 1_700_000_000.0


def test_an_order_without_a_job_says_so(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE)
    record(ledger, result(), given=order(job=0))
    record(Ledger(tmp_path, NODE, origin=Origin.TEST), result())
    origins = [one.origin for one in ledger.page(ReadHookRuns()).runs]
    assert origins == [Origin.NO_JOB, Origin.TEST]


def test_a_run_is_given_back_with_its_output_and_what_it_was_told(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE)
    name = written(ledger, "h\u00e9llo\n")
    ledger.close()
    again = Ledger(tmp_path, NODE).record(name)
    assert (again.stdout, again.stderr) == ("h\u00e9llo\n", "")
    assert again.order == order()
    assert again.run.result.script == "10-check"


def test_of_an_output_that_has_grown_since_no_more_is_read_than_was_kept(tmp_path: Path) -> None:
    """A child in the background, be it of another user, may go on writing to it."""
    ledger = Ledger(tmp_path, NODE)
    name = written(ledger, "kept")
    [file] = (tmp_path / OUTPUTS).glob("*/*/0.out")
    os.truncate(file, 8 * 1024 * 1024)
    assert ledger.record(name).stdout == "kept"


def test_a_run_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="keeps no run abc"):
        Ledger(tmp_path, NODE).record("abc")


def test_pages_follow_each_other_and_another_ledger_begins_anew(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE)
    record(ledger, *[result(f"{number}-script") for number in range(5)])
    seen, after, name, more = [], 0, "", True
    while more:
        page = ledger.page(ReadHookRuns(ledger=name, after=after, limit=2))
        seen += [one.result.script for one in page.runs]
        after, name, more = page.kept.last, page.kept.ledger, page.more
    assert seen == [f"{number}-script" for number in range(5)]
    assert ledger.page(ReadHookRuns(ledger=name, after=after)).runs == ()
    assert len(ledger.page(ReadHookRuns(ledger="another", after=after)).runs) == 5


def test_a_page_of_long_verdicts_is_no_longer_than_an_answer_may_be(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE)
    long = ("x" * 2000,) * 20
    record(ledger, *(result(f"{number:03d}", warnings=long) for number in range(150)))
    page = ledger.page(ReadHookRuns(limit=1000))
    assert page.more and len(msgspec.json.encode(page)) < 5 * 1024 * 1024
    rest = ledger.page(ReadHookRuns(ledger=page.kept.ledger, after=page.kept.last, limit=1000))
    assert not rest.more
    found = [one.result.script for one in (*page.runs, *rest.runs)]
    assert found == [f"{number:03d}" for number in range(150)]


def test_old_runs_are_left_out_of_a_page_that_does_not_want_them(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE)
    record(ledger, result("old", started=100.0), result("new", started=200.0))
    page = ledger.page(ReadHookRuns(since=150.0))
    assert [one.result.script for one in page.runs] == ["new"]
    assert page.kept.last == 2


def test_runs_are_forgotten_by_age_and_by_number(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE, Bounds(days=10, runs=3))
    now = 1_800_000_000.0
    record(ledger, result("ancient", started=now - 11 * DAY))
    record(ledger, *[result(f"{number}", started=now - DAY) for number in range(4)])
    ledger.prune(now)
    assert [one.result.script for one in ledger.page(ReadHookRuns()).runs] == ["1", "2", "3"]
    ledger.prune(now + 30 * DAY)
    assert ledger.page(ReadHookRuns()).runs == ()
    record(ledger, result("next"))
    assert ledger.page(ReadHookRuns()).kept.last == 6


def test_output_is_thrown_away_first_where_there_is_too_much(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE, Bounds(output=1))
    names = [written(ledger, "x" * 400_000, time.time()) for _ in range(4)]
    kept = [ledger.record(name).stdout is not None for name in names]
    assert kept == [False, False, True, True]
    assert len(ledger.page(ReadHookRuns()).runs) == 4
    assert len(list((tmp_path / OUTPUTS).glob("*/*/0.out"))) == 2


def test_the_directory_of_a_phase_that_wrote_nothing_goes_away(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE)
    record(ledger, result())
    assert list((tmp_path / OUTPUTS).iterdir()) == []


def test_others_may_not_read_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE)
    written(ledger, "private")
    assert (tmp_path / DATABASE).stat().st_mode & 0o077 == 0
    [directory] = (tmp_path / OUTPUTS).glob("*/*")
    assert directory.stat().st_mode & 0o077 == 0


def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / DATABASE
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is no database at all, and long enough to be read as one" * 100)
    answer = record(Ledger(tmp_path, NODE), result())
    assert answer.results[0].run
    assert len(list(path.parent.glob("hooks.db.damaged-*"))) == 1


def test_what_cannot_be_recorded_runs_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "var/lib").mkdir(parents=True)
    (tmp_path / "var/lib/gantry").write_text("in the way")
    ledger = Ledger(tmp_path, NODE)
    answer = record(ledger, result())
    assert answer == ran(result())
    assert ledger.phase(order()).outputs is None
    with pytest.raises(OperationFailed, match="cannot be read"):
        ledger.page(ReadHookRuns())


def test_two_processes_may_write(tmp_path: Path) -> None:
    one, other = Ledger(tmp_path, NODE), Ledger(tmp_path, NODE)
    first, second = one.phase(order()), other.phase(order(job=0))
    first.ended(result("a"))
    second.ended(result("b"))
    first.ended(result("c"))
    answers = [first.finished(ran(result("a"), result("c"))), second.finished(ran(result("b")))]
    assert [one.result.script for one in one.page(ReadHookRuns()).runs] == ["a", "b", "c"]
    kept = [answer.kept for answer in answers]
    assert [(one.before, one.last) for one in kept if one is not None] == [(0, 3), (1, 2)]


def test_what_was_recorded_survives_the_death_of_the_agent(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"recorded\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    found = Ledger(tmp_path, NODE).page(ReadHookRuns()).runs
    assert [one.result.script for one in found] == ["0-script", "1-script", "2-script"]


def test_the_script_that_ran_when_the_agent_was_killed_is_recorded(tmp_path: Path) -> None:
    directory = tmp_path / DIRECTORY / "instance-start-pre.d"
    directory.mkdir(parents=True)
    for number in range(5):
        (directory / f"{number}-script").write_text("#!/bin/sh\n")
        (directory / f"{number}-script").chmod(0o755)
    ledger = Ledger(tmp_path, NODE)
    phase = ledger.phase(order())
    for number in range(3):
        phase.ended(result(f"{number}-script"))
    keep(phase, "0003.out", "half way\n")
    ledger.close()
    again = Ledger(tmp_path, NODE)
    for _ in range(2):
        again.recover()
        runs = again.page(ReadHookRuns()).runs
        assert [one.result.script for one in runs] == [f"{number}-script" for number in range(4)]
    last = again.record(runs[-1].id)
    assert (last.stdout, last.run.result.status) == ("half way\n", ScriptStatus.FAILED)
    assert "the agent was ended" in last.run.result.problem


def test_a_phase_that_cannot_be_read_does_not_keep_others_from_being_closed(tmp_path: Path) -> None:
    directory = tmp_path / DIRECTORY / "instance-start-pre.d"
    directory.mkdir(parents=True)
    (directory / "0-script").write_text("#!/bin/sh\n")
    (directory / "0-script").chmod(0o755)
    ledger = Ledger(tmp_path, NODE)
    keep(ledger.phase(order()), "0000.out", "text")
    ledger.phase(order())
    ledger.close()
    database = apsw.Connection(str(tmp_path / DATABASE))
    database.execute('UPDATE phases SET "order" = ? WHERE id = 1', (b"nothing that was packed",))
    again = Ledger(tmp_path, NODE)
    again.recover()
    assert [one.result.script for one in again.page(ReadHookRuns()).runs] == ["0-script"]
    sizes = list(database.execute("SELECT size FROM phases ORDER BY id"))
    assert sizes == [(4,), (0,)], "both are closed, and what was kept counts"
    database.close()


def brief(phase: Phase, *scripts: tuple[int, str, Ended]) -> None:
    """They have ended, and their results have not been told yet."""
    for number, name, ended in scripts:
        script = Script(directory="instance-start-pre.d", name=name, path="", version=2)
        phase.brief(number, script, time.time(), ended)


def test_short_scripts_whose_results_were_not_told_yet_are_recorded_after_a_kill(
    tmp_path: Path,
) -> None:
    directory = tmp_path / DIRECTORY / "instance-start-pre.d"
    directory.mkdir(parents=True)
    for number in range(6):
        (directory / f"{number}-script").write_text("#!/bin/sh\n")
        (directory / f"{number}-script").chmod(0o755)
    (directory / "3-script").chmod(0o644)
    ledger = Ledger(tmp_path, NODE)
    phase = ledger.phase(order())
    brief(phase, (0, "0-script", Ended(exit_status=0)))
    phase.ended(result("0-script"))
    brief(
        phase,
        (1, "1-script", Ended(exit_status=3, duration=0.25, user_time=0.125)),
        (2, "2-script", Ended(signal=9)),
        (4, "another", Ended(exit_status=0)),
    )
    ledger.close()
    again = Ledger(tmp_path, NODE)
    for _ in range(2):
        again.recover()
        runs = [one.result for one in again.page(ReadHookRuns()).runs]
        assert [(one.script, one.exit_status, one.signal) for one in runs] == [
            ("0-script", 0, None),
            ("1-script", 3, None),
            ("2-script", None, 9),
            # That with number 4 had another name when it ran: what it did nobody knows.
            ("4-script", None, None),
        ]
    assert (runs[1].duration, runs[1].user_time, runs[1].warnings) == (0.25, 0.125, (LOST,))
    assert (runs[0].warnings, runs[3].problem) == ((), INTERRUPTED)
    assert not (tmp_path / ENDED).exists()


def test_what_is_said_of_ends_does_not_grow_for_ever(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE)
    for _ in range(5):
        phase, other = ledger.phase(order()), ledger.phase(order())
        brief(phase, *((number, "a", Ended(exit_status=0)) for number in range(1000)))
        phase.close()
        assert (tmp_path / ENDED).stat().st_size >= 48_000, "the other one may need its own"
        other.close()
    assert (tmp_path / ENDED).stat().st_size < 128 * 1024


def test_of_an_earlier_phase_with_the_same_number_nothing_is_believed(tmp_path: Path) -> None:
    file = EndedFile(tmp_path / "ended")
    file.add(1, 0, "d", "a", 100.0, Ended(exit_status=0))
    file.add(1, 1, "d", "b", 200.0, Ended(exit_status=0))
    file.close()
    with (tmp_path / "ended").open("ab") as half:
        half.write(b"half a record")
    ends = EndedFile(tmp_path / "ended").of(1, 150.0)
    assert ends.get(0, "d", "a") is None and ends.get(1, "d", "c") is None
    assert ends.get(1, "d", "b") is not None


def test_a_phase_that_was_complete_has_nothing_to_be_noted(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE)
    record(ledger, result("10-a"))
    phase = ledger.phase(order())
    phase.ended(result("20-b"))
    Ledger(tmp_path, NODE).recover()
    assert [one.result.script for one in ledger.page(ReadHookRuns()).runs] == ["10-a", "20-b"]


def test_a_record_is_read_again_as_it_was_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NODE)
    given = failed("10-x", signal=9, exit_status=None, user_time=0.5, digest="ab" * 32)
    name = record(ledger, given).results[0].run
    found = ledger.record(name).run.result
    assert found == msgspec.structs.replace(given, run=name)


def test_a_phase_that_could_be_noted_down_by_half_is_not_taken_for_interrupted(
    tmp_path: Path,
) -> None:
    directory = tmp_path / DIRECTORY / "instance-start-fail.d"
    directory.mkdir(parents=True)
    (directory / "10-check").write_text("#!/bin/sh\n")
    (directory / "10-check").chmod(0o755)
    ledger = Ledger(tmp_path, NODE)
    given = order(directories=(HookDirectory(name="instance-start-fail.d", version=2),))
    record(ledger, given=given)
    trigger = "CREATE TRIGGER full BEFORE INSERT ON failures BEGIN SELECT RAISE(FAIL, 'full'); END"
    other = apsw.Connection(str(tmp_path / DATABASE))
    other.execute(trigger)
    phase = ledger.phase(given)
    assert phase.outputs is None
    phase.ended(result("10-check"))
    phase.close()
    other.execute("DROP TRIGGER full")
    other.close()
    ledger.close()
    again = Ledger(tmp_path, NODE)
    again.recover()
    assert again.page(ReadHookRuns()).runs == ()
