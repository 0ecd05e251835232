"""Errors as text, as JSON, and as exit statuses."""

from __future__ import annotations

import json

import pytest

from gantry.cli import errors
from gantry.client.errors import ApiError, ClientError, MasterDown, NoCluster, NotMaster

ERRORS: list[tuple[Exception, int]] = [
    (ApiError("rejected", "no", reason="wrong_state"), 1),
    (ApiError("unavailable", "no"), 1),
    (MasterDown("no"), 1),
    (errors.Usage("no", "do it thus"), 2),
    (NoCluster("no"), 5),
    (NotMaster("node2", "no"), 11),
    (errors.Declined(), 13),
    (ApiError("unknown-field", "no"), 14),
    (OSError(28, "No space left on device"), 1),
]


@pytest.mark.parametrize(("error", "status"), ERRORS)
def test_every_error_has_its_exit_status_and_goes_to_stderr(
    error: Exception, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert errors.report(error, False) == status
    out, err = capsys.readouterr()
    assert not out
    assert err.endswith("\n")


@pytest.mark.parametrize(("error", "status"), ERRORS)
def test_every_error_is_one_json_object(
    error: Exception, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert errors.report(error, True) == status
    info = json.loads(capsys.readouterr().err)["error"]
    assert {"code", "message", "hint", "node", "object"} <= set(info)
    assert info["message"]


def test_a_bug_is_not_reported_as_an_error_of_the_user() -> None:
    with pytest.raises(ZeroDivisionError):
        errors.report(ZeroDivisionError(), False)


def test_a_rejection_has_the_shape_that_scripts_expect() -> None:
    info = {
        "code": "rejected",
        "message": "Instance 'web9' not known",
        "reason": "unknown_entity",
        "hint": "see gnt-instance list",
    }
    assert errors.failure(info) == (
        "Failure: prerequisites not met for this operation:\n"
        "error type: unknown_entity, error details:\n"
        "Instance 'web9' not known\n"
        "  see gnt-instance list"
    )


def test_an_error_names_the_node_that_its_message_does_not() -> None:
    info = {"code": "failed", "message": "the disk is full", "node": "node2"}
    assert errors.failure(info) == (
        "Failure: command execution error:\nthe disk is full (node node2)"
    )
    info["message"] = "the disk of node2 is full"
    assert "(node" not in errors.failure(info)


def test_a_denial_has_the_heading_of_hooks() -> None:
    message = "hooks execution failed:\n  node: n1, script: instance-stop-pre.d/60-no, output: x"
    text = errors.failure({"code": "hooks-denied", "message": message, "hint": ""})
    assert text == f"Failure: {message}"


def test_errors_without_an_answer_are_client_errors() -> None:
    assert errors.described(ClientError("m", "h"))["hint"] == "h"


def test_a_confirmation_that_nobody_can_give_is_13() -> None:
    assert errors.report(errors.Unanswered("Really?", "give -f"), False) == errors.DECLINED
