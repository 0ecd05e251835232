"""What is recorded of a run."""

from __future__ import annotations

import pytest
from tests.support.hook_runs import failed, order, result

from gantry.hooks.record import CANCELLED, INTERRUPTED, ending, run_of, runs_of
from gantry.model.hook_orders import ScriptResult, ScriptStatus
from gantry.model.hook_runs import Origin

CLUSTER = {"GANETI_OP_CODE": "OP_CLUSTER_SET_PARAMS", "GANETI_OBJECT_TYPE": "CLUSTER",
           "GANETI_CLUSTER": "c.example.com"}  # fmt: skip
NODE = {"GANETI_OP_CODE": "OP_NODE_SET_PARAMS", "GANETI_OBJECT_TYPE": "NODE",
        "GANETI_OP_TARGET": "node2.example.com"}  # fmt: skip


def test_the_record_names_operation_object_and_phase() -> None:
    found = run_of(order(), "node1", result(run="ab", output="secret"))
    assert (found.id, found.operation, found.phase) == ("ab", "instance-start", "pre")
    assert (found.kind, found.object) == ("INSTANCE", "web1.example.com")
    assert (found.job, found.run_id, found.origin) == (7, "run-7", Origin.JOB)
    assert found.result.output == ""


@pytest.mark.parametrize(
    ("environment", "kind", "name"),
    [
        (CLUSTER, "CLUSTER", "c.example.com"),
        (NODE, "NODE", "node2.example.com"),
        ({}, "", ""),
    ],
)
def test_objects_of_other_kinds(environment: dict[str, str], kind: str, name: str) -> None:
    found = run_of(order(environments={"2": environment}), "node1", result())
    assert (found.kind, found.object) == (kind, name)


def test_a_directory_of_version_1_is_of_the_same_operation() -> None:
    found = run_of(order(), "node1", result(directory="instance-shutdown-post.d"))
    assert (found.operation, found.phase) == ("instance-stop", "post")


def test_what_has_no_record_is_no_run() -> None:
    results = [result(run="a"), result(run="", status=ScriptStatus.SKIPPED), result(run="c")]
    assert [one.id for one in runs_of(order(), "node1", results)] == ["a", "c"]


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (result(), "ok"),
        (failed(), "exit 3"),
        (failed(exit_status=None, signal=9), "signal 9"),
        (failed(exit_status=None, signal=15, timed_out=True, problem="took too long"), "timeout"),
        (result(status=ScriptStatus.SKIPPED, problem="it is disabled by root"), "skipped"),
        (failed(exit_status=None, problem="cannot be executed: no such file"), "not run"),
        (failed(exit_status=None, problem=INTERRUPTED), "interrupted"),
        (failed(exit_status=None, signal=15, problem=CANCELLED), "cancelled"),
    ],
)
def test_how_it_ended_in_few_words(one: ScriptResult, words: str) -> None:
    assert ending(one) == words
