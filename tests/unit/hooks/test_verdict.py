"""What denies, what only warns, and how it is said."""

from __future__ import annotations

from typing import Any

import pytest

from gantry.hooks.verdict import NodeScripts, denial, unreachable, warnings
from gantry.model.errors import HooksDenied
from gantry.model.orders import ScriptResult, ScriptStatus

DIRECTORY = "instance-stop-pre.d"


def result(script: str = "60-no", status: str = "failed", **fields: Any) -> ScriptResult:
    return ScriptResult(directory=DIRECTORY, script=script, status=ScriptStatus(status), **fields)


def on(number: int, *results: ScriptResult, problem: str = "") -> NodeScripts:
    return NodeScripts(node=f"node{number}.example.com", results=results, problem=problem)


def test_nothing_denies_where_no_script_failed() -> None:
    fine = result("10-fine", "succeeded", exit_status=0)
    left_out = result("20.sh", "skipped", problem="its name")
    assert denial([]) is None
    assert denial([on(1, fine, left_out), on(2)]) is None
    assert warnings([on(1, fine, left_out)]) == []


def test_nodes_that_do_not_answer_never_deny_not_even_all_of_them() -> None:
    silent = [on(number, problem="connection refused") for number in (1, 2, 3)]
    assert denial(silent) is None
    assert len(unreachable(silent, "pre")) == 3
    assert unreachable([on(1)], "pre") == []


def test_a_denial_names_every_script_that_failed_on_every_node() -> None:
    denied = denial(
        [
            on(
                1, result("10-a", exit_status=1, output="one\ntwo\n"), result("20-b", exit_status=2)
            ),
            on(2, problem="connection refused"),
            on(3, result("10-a", exit_status=1, output="three")),
        ]
    )
    assert isinstance(denied, HooksDenied)
    assert denied.message.splitlines() == [
        "hooks execution failed:",
        rf"  node: node1.example.com, script: {DIRECTORY}/10-a, output: one\ntwo",
        f"  node: node1.example.com, script: {DIRECTORY}/20-b, output: (no output) (exit status 2)",
        f"  node: node3.example.com, script: {DIRECTORY}/10-a, output: three",
    ]
    assert denied.hint


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"signal": 9}, "(no output) (ended by signal 9)"),
        ({"problem": "took longer than 600 s and was ended", "signal": 15, "output": "begun"},
         "begun (took longer than 600 s and was ended)"),
        ({"problem": "cannot be executed: Exec format error"},
         "(no output) (cannot be executed: Exec format error)"),
        ({"exit_status": 1, "output": " \n\n"}, "(no output)"),
        ({"exit_status": 255, "output": "no"}, "no (exit status 255)"),
        ({"exit_status": 1, "output": "C:\\temp\ttab\r\n\x1b[31mgr\u00fcn\u2028"},
         r"C:\temp\ttab\r\n\x1b[31mgr\xfcn"),
    ],
)  # fmt: skip
def test_output_is_one_line_of_printable_ascii(fields: dict[str, Any], said: str) -> None:
    [line] = warnings([on(1, result(**fields))])
    assert line == f"On node1.example.com script {DIRECTORY}/60-no failed, output: {said}"
