"""The one place where an error becomes text and an exit status.

Nothing here decides what went wrong; commands raise, this says it.
"""

from __future__ import annotations

import sys

from gantry.client.errors import ApiError, ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

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
_PLAIN: Final = ("unauthorized", "forbidden", "no-such-resource", "too-large")
"""Errors of the API itself, not of an operation."""


class Usage(Exception):
    """The command line does not make sense; ``hint`` says what would."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Unanswered(Usage):
    """A confirmation is needed, and nobody is there to give it."""


class Declined(Exception):
    """The operator said no."""


def failure(error: dict[str, Any]) -> str:
    """An error of a job or of the API, in the shape that scripts of operators expect."""
    message, code = error.get("message", ""), error.get("code")
    if code in ("rejected", "superseded"):
        reason = error.get("reason", "wrong_input")
        text = (
            "Failure: prerequisites not met for this operation:\n"
            f"error type: {reason}, error details:\n{message}"
        )
    elif code in ("failed", "interrupted"):
        text = f"Failure: command execution error:\n{message}"
    else:
        text = f"Failure: {message}"
    node = error.get("node")
    if node and node not in message:
        text += f" (node {node})"
    hint = error.get("hint")
    return f"{text}\n  {hint}" if hint else text


def report(error: Exception, as_json: bool) -> int:
    """Say what went wrong on stderr (``as_json``: as an object) and return the exit status.

    What is no error of the user, the cluster or the system is raised again: it is a bug.
    """
    info = described(error)
    if as_json:
        import json

        sys.stderr.write(json.dumps({"error": info}) + "\n")
    elif info["code"] in ("usage", "declined", "system", *_PLAIN):
        hint = f"\n  {info['hint']}" if info["hint"] else ""
        sys.stderr.write(f"Error: {info['message']}{hint}\n")
    else:
        sys.stderr.write(failure(info) + "\n")
    return _STATUS.get(str(info["code"]), FAILURE)


def described(error: Exception) -> dict[str, Any]:
    """The error as ``--json`` shows it."""
    if isinstance(error, ApiError | ClientError):
        return error.info()
    if isinstance(error, Unanswered):
        return _info("declined", str(error), error.hint)
    if isinstance(error, Usage):
        return _info("usage", str(error), error.hint)
    if isinstance(error, Declined):
        return _info("declined", "aborted: nothing was changed")
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else "cannot write the output: "
        return _info("system", f"{where}{error.strerror or error}")
    raise error


def _info(code: str, message: str, hint: str = "") -> dict[str, Any]:
    return {"code": code, "message": message, "hint": hint, "node": "", "object": ""}
