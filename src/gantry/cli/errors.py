"""The one place where an error becomes text and an exit status."""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from gantry.client.errors import ApiError, ClientError

FAILURE: Final = 1
USAGE: Final = 2
NO_CLUSTER: Final = 5
NOT_MASTER: Final = 11
DECLINED: Final = 13
UNKNOWN_FIELD: Final = 14

_STATUS: Final = {
    "no-cluster": NO_CLUSTER,
    "not-master": NOT_MASTER,
    "unknown-field": UNKNOWN_FIELD,
    "usage": USAGE,
    "declined": DECLINED,
}


class Usage(Exception):
    """The command line does not make sense; ``hint`` says what would."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Declined(Exception):
    """The operator said no."""


def failure(error: dict[str, Any]) -> str:
    """An error of a job or of the API, in the shape that scripts of operators expect."""
    message = error.get("message", "")
    if error.get("code") == "rejected":
        reason = error.get("reason", "wrong_input")
        text = (
            "Failure: prerequisites not met for this operation:\n"
            f"error type: {reason}, error details:\n{message}"
        )
    else:
        text = f"Failure: {message}"
    hint = error.get("hint")
    return f"{text}\n  {hint}" if hint else text


def report(error: Exception, as_json: bool) -> int:
    """Say what went wrong on stderr (``as_json``: as an object) and return the exit status."""
    if isinstance(error, Usage):
        info = {"code": "usage", "message": str(error), "hint": error.hint}
    elif isinstance(error, Declined):
        info = {"code": "declined", "message": "aborted, nothing was changed", "hint": ""}
    elif isinstance(error, ApiError | ClientError):
        info = error.info()
    else:
        raise error
    if as_json:
        sys.stderr.write(json.dumps({"error": info}) + "\n")
    elif info["code"] == "usage":
        hint = f" ({info['hint']})" if info["hint"] else ""
        sys.stderr.write(f"Error: {info['message']}{hint}\n")
    else:
        sys.stderr.write(failure(info) + "\n")
    return _STATUS.get(str(info["code"]), FAILURE)
