"""Commands that submit a job: what they send, what they show, how they end."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.integration.cli.conftest import Commands

from gantry.model.errors import ErrorInfo, Reason, Rejected
from gantry.model.jobs import DryRun, JobStatus
from gantry.model.names import JobId

FIRST = JobId(1)


async def test_start_is_one_job_with_its_log_live(gnt: Commands) -> None:
    running = asyncio.create_task(gnt("gnt-instance start web1"))
    await gnt.queue.arrived.get()
    await gnt.queue.say(FIRST, "starting web1.example.com")
    await gnt.queue.end(FIRST)
    done = await running
    assert done.status == 0
    assert done.out == "Thu Jan  1 00:33:20 1970 starting web1.example.com\n"
    (submission,) = gnt.queue.submissions
    assert submission.ops[0]["OP_ID"] == "OP_INSTANCE_STARTUP"
    assert submission.ops[0]["instance_name"] == "web1"
    assert submission.reason[0][:2] == ("gnt:client:gnt-instance", "startup")


async def test_submit_prints_the_number_and_does_not_wait(gnt: Commands) -> None:
    done = await gnt("gnt-instance start --submit web1")
    assert (done.status, done.out) == (0, "1\n")
    assert not gnt.queue.jobs()[0].status.ended


async def test_submit_as_json(gnt: Commands) -> None:
    done = await gnt("gnt-instance start --submit --json web1")
    assert done.json == {"job": 1}


async def test_print_jobid_comes_before_the_log(gnt: Commands) -> None:
    gnt.queue.at_once = True
    done = await gnt("gnt-instance start --print-jobid web1")
    assert done.out.startswith("1\n")


async def test_a_failed_job_ends_with_status_one_and_ganetis_words(gnt: Commands) -> None:
    running = asyncio.create_task(gnt("gnt-instance start web1"))
    await gnt.queue.arrived.get()
    error = ErrorInfo(
        code="rejected",
        message="instance web1.example.com is marked offline",
        reason=Reason.STATE,
        hint="gnt-instance modify --online web1.example.com",
    )
    await gnt.queue.end(FIRST, JobStatus.ERROR, error)
    done = await running
    assert done.status == 1
    assert done.err == (
        "Failure: prerequisites not met for this operation:\n"
        "error type: wrong_state, error details:\n"
        "instance web1.example.com is marked offline\n"
        "  gnt-instance modify --online web1.example.com\n"
    )


async def test_a_denial_by_hooks_keeps_the_heading_that_scripts_look_for(gnt: Commands) -> None:
    running = asyncio.create_task(gnt("gnt-instance start web1"))
    await gnt.queue.arrived.get()
    message = "hooks execution failed:\n  node: n1, script: d/x, output: no (exit status 1)"
    await gnt.queue.end(
        FIRST, JobStatus.ERROR, ErrorInfo(code="hooks-denied", message=message, hint="site rules")
    )
    done = await running
    assert done.status == 1
    assert done.err.startswith("Failure: hooks execution failed:\n  node: n1, script: d/x,")


async def test_a_failed_job_as_json_is_on_stdout_and_nothing_else_is(gnt: Commands) -> None:
    running = asyncio.create_task(gnt("gnt-instance start --json web1"))
    await gnt.queue.arrived.get()
    await gnt.queue.say(FIRST, "not shown")
    await gnt.queue.end(FIRST, JobStatus.ERROR, ErrorInfo(code="failed", message="QEMU ended"))
    done = await running
    assert done.status == 1
    assert done.json["status"] == "error"
    assert done.json["errors"][0]["message"] == "QEMU ended"


async def test_a_refused_submission_says_why(gnt: Commands) -> None:
    gnt.queue.refuse = Rejected(
        "there is no instance 'web9'", "gnt-instance list shows them", reason=Reason.UNKNOWN
    )
    done = await gnt("gnt-instance start web9")
    assert done.status == 1
    assert "unknown_entity" in done.err
    assert "there is no instance 'web9'" in done.err
    as_json = await gnt("gnt-instance start --json web9")
    assert json.loads(as_json.err)["error"]["hint"] == "gnt-instance list shows them"


async def test_the_surrounding_job_of_a_hook_is_told(
    gnt: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANTRY_JOB", "77")
    await gnt.operation("gnt-instance start web1")
    assert gnt.queue.submissions[0].within_job == 77


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("", DryRun.NO),
        ("--dry-run", DryRun.YES),
        ("--dry-run=yes", DryRun.YES),
        ("--dry-run=hooks", DryRun.HOOKS),
    ],
)
async def test_dry_run_may_stand_before_the_name(gnt: Commands, given: str, wanted: DryRun) -> None:
    operation = await gnt.operation(f"gnt-instance start {given} web1")
    assert operation["instance_name"] == "web1"
    assert gnt.queue.submissions[0].dry_run is wanted


async def test_priority_and_reason_travel_with_the_job(gnt: Commands) -> None:
    await gnt.operation("gnt-instance start --priority high --reason", "planned work", "web1")
    (submission,) = gnt.queue.submissions
    assert submission.priority == -10
    assert [one[:2] for one in submission.reason] == [
        ("gnt:user", "planned work"),
        ("gnt:client:gnt-instance", "startup"),
    ]


async def test_several_instances_need_a_word(gnt: Commands) -> None:
    done = await gnt("gnt-instance start --all")
    assert done.status != 0
    assert "--force-multiple" in done.err
    assert not gnt.queue.submissions


async def test_all_means_one_job_an_instance(gnt: Commands) -> None:
    gnt.queue.at_once = True
    done = await gnt("gnt-instance stop --all --force-multiple")
    assert done.status == 0
    names = [submission.ops[0]["instance_name"] for submission in gnt.queue.submissions]
    assert names == [f"web{n}.example.com" for n in (1, 2, 3, 10)]
    assert done.out.startswith("Waiting for job 1 for web1.example.com ...\n")


async def test_several_instances_are_one_array_of_json(gnt: Commands) -> None:
    gnt.queue.at_once = True
    done = await gnt("gnt-instance stop --force-multiple --json web1 web2")
    assert [(one["instance"], one["job"], one["status"]) for one in done.json] == [
        ("web1", 1, "success"),
        ("web2", 2, "success"),
    ]
    submitted = await gnt("gnt-instance stop --node node2 --json --submit")
    assert submitted.json == [{"job": 3, "instance": "web3.example.com"}]


async def test_one_failure_among_several_is_the_commands_failure(gnt: Commands) -> None:
    running = asyncio.create_task(gnt("gnt-instance start --force-multiple web1 web2"))
    await gnt.queue.arrived.get()
    await gnt.queue.arrived.get()
    await gnt.queue.end(JobId(1), JobStatus.ERROR, ErrorInfo(code="failed", message="no memory"))
    await gnt.queue.end(JobId(2))
    done = await running
    assert done.status == 1
    assert done.err == ("Job 1 for web1 has failed: Failure: command execution error:\nno memory\n")


async def test_removal_asks_first(gnt: Commands) -> None:
    done = await gnt("gnt-instance remove web1")
    assert done.status != 0
    assert not gnt.queue.submissions
    assert (await gnt.operation("gnt-instance remove -f web1"))["OP_ID"] == "OP_INSTANCE_REMOVE"


async def test_a_master_that_does_not_come_back_is_no_wrong_use(
    gnt: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gantry.model.timeouts.MASTER_SEARCH", 0.2)
    monkeypatch.setattr("gantry.model.timeouts.MASTER_LOOK", 0.05)
    running = asyncio.create_task(gnt("gnt-instance start web1"))
    await gnt.queue.arrived.get()
    gnt.queue.broken = True
    await gnt.queue.say(FIRST, "never seen")
    done = await running
    assert done.status == 1
    assert "the master went away" in done.err
    assert "looking for a master for up to 0.2 s" in done.err
    assert "job 1 goes on: gnt-job watch 1; gnt-job list" in done.err


async def test_a_job_is_followed_over_the_end_of_its_master(
    gnt: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gantry.model.timeouts.MASTER_LOOK", 0.05)
    running = asyncio.create_task(gnt("gnt-instance start web1"))
    await gnt.queue.arrived.get()
    await gnt.queue.say(FIRST, "of the old master")
    await gnt.queue.until(lambda: gnt.queue.followers)
    gnt.queue.broken = True
    await gnt.queue.say(FIRST, "told to nobody")
    await gnt.queue.until(lambda: not gnt.queue.followers)
    gnt.queue.broken = False
    await gnt.queue.end(FIRST)
    done = await running
    assert done.status == 0
    assert [line[25:] for line in done.out.splitlines()] == ["of the old master", "told to nobody"]
    assert "job 1 goes on: the master is on this node" in done.err


async def test_what_was_submitted_as_the_master_died_is_submitted_once(
    gnt: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gantry.model.timeouts.MASTER_LOOK", 0.05)
    gnt.queue.at_once = True
    gnt.queue.lose = 2
    done = await gnt("gnt-instance start web1")
    assert done.status == 0
    assert len(gnt.queue.submissions) == 1
    gnt.queue.lose = 1
    assert (await gnt("gnt-instance start --submit web1")).out == "2\n"
    gnt.queue.lose = 1
    assert (await gnt("gnt-instance stop --submit --force-multiple web1 web2")).out == "3\n4\n"
    assert len(gnt.queue.submissions) == 4


async def test_ctrl_c_ends_the_search_for_a_master(
    gnt: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gantry.cli.searching.time.sleep", interrupted)
    running = asyncio.create_task(gnt("gnt-instance start web1"))
    await gnt.queue.arrived.get()
    gnt.queue.broken = True
    await gnt.queue.say(FIRST, "never seen")
    done = await running
    assert (done.status, "job 1 goes on: gnt-job watch 1" in done.err) == (130, True)


async def test_wait_is_silent_and_watch_is_not(gnt: Commands) -> None:
    gnt.queue.at_once = True
    await gnt("gnt-instance start web1")
    await gnt.queue.say(FIRST, "one line")
    assert (await gnt("gnt-job wait 1")).out == ""
    assert "one line" in (await gnt("gnt-job watch 1")).out
    assert (await gnt("gnt-job wait 5")).status == 1


async def test_a_trial_that_went_well_says_that_nothing_was_changed(gnt: Commands) -> None:
    gnt.queue.at_once = True
    assert "nothing was changed" in (await gnt("gnt-instance remove --dry-run web1")).out
    assert (await gnt("gnt-instance remove --dry-run --json web1")).json["status"] == "success"
    assert (await gnt("gnt-instance start web1")).out == ""
