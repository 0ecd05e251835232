"""What can go wrong between a command and the master, for the command to translate.

Standard library only, and little of it: every command imports this.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ClientError(Exception):
    """The request did not get an answer; ``str()`` is the message alone."""

    code = "client"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def info(self) -> dict[str, Any]:
        """The shape of errors in ``--json``."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "node": "",
            "object": "",
        }


class NoCluster(ClientError):
    """This machine belongs to no cluster."""

    code = "no-cluster"


class NotMaster(ClientError):
    """Another node is the master, and cannot be asked; ``master`` is its name, last known."""

    code = "not-master"

    def __init__(self, master: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.master = master


class NoAccess(ClientError):
    """This user may not use what this node asks the master with."""

    code = "no-access"


class MasterDown(ClientError):
    """The master should run on this node, or was reached, and does not answer."""

    code = "master-down"


class MasterLost(MasterDown):
    """It was there and went away: another one may take over, and knows what it knew."""


class ApiError(Exception):
    """The master's own error, as it came; ``str()`` is the message alone."""

    def __init__(
        self,
        code: str,
        message: str,
        hint: str = "",
        node: str = "",
        object_name: str = "",
        reason: str = "internal_error",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.node = node
        self.object = object_name
        self.reason = reason

    def info(self) -> dict[str, Any]:
        """The shape of errors in ``--json``."""
        return {
            "code": self.code,
            "message": self.message,
            "reason": self.reason,
            "hint": self.hint,
            "node": self.node,
            "object": self.object,
        }


def from_answer(given: dict[str, Any]) -> ApiError:
    """The error in ``{"error": {…}}``."""
    return ApiError(
        str(given.get("code", "error")),
        str(given.get("message", "")),
        str(given.get("hint", "")),
        str(given.get("node", "")),
        str(given.get("object", "")),
        str(given.get("reason", "internal_error")),
    )
