"""The one tree of errors, named after what the caller does next.

    GantryError
    ├── Rejected          nothing was changed: mend the request (or the state) and ask again
    │   ├── HooksDenied   a site's pre script said no
    │   └── Superseded    the order came from a master that is master no more
    ├── OperationFailed   it was tried and undone: read why
    │   ├── Cancelled     somebody asked for the end
    │   └── Interrupted   a script was ended half-way: run it again, or unwind
    └── Unavailable       nothing is wrong with the request: try again later
        ├── TooLate       an order came to its agent after its time: it was not begun
        ├── OtherClock    an order was timed for an agent that was restarted since: not begun
        └── Stopping      the agent is being stopped: an order was not begun, or was ended

Any other exception is a bug of ours. Translation to HTTP and to exit statuses happens
once each, in ``api`` and in ``cli``.
"""

from __future__ import annotations

import enum
from typing import ClassVar

import msgspec


class Reason(enum.StrEnum):
    """Why, in the words that clients of Ganeti know (its error codes)."""

    RESOLVER = "resolver_error"
    NO_RESOURCES = "insufficient_resources"
    TEMPORARILY_NO_RESOURCES = "temp_insufficient_resources"
    INPUT = "wrong_input"
    STATE = "wrong_state"
    UNKNOWN = "unknown_entity"
    EXISTS = "already_exists"
    NOT_UNIQUE = "resource_not_unique"
    INTERNAL = "internal_error"
    ENVIRONMENT = "environment_error"


class ErrorInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error as data: in a job's record, on the wire and in ``--json``."""

    code: str
    message: str
    reason: Reason = Reason.INTERNAL
    hint: str = ""
    node: str = ""
    object: str = ""


class GantryError(Exception):
    """Base of all errors that a user may see; ``str()`` is the message alone."""

    code = "error"
    usual: ClassVar[Reason] = Reason.INTERNAL
    """The reason, where none is given."""

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        reason: Reason | None = None,
        node: str = "",
        object_name: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.reason = reason or self.usual
        self.node = node
        self.object_name = object_name

    def info(self) -> ErrorInfo:
        """The same as data."""
        return ErrorInfo(
            code=self.code,
            message=self.message,
            reason=self.reason,
            hint=self.hint,
            node=self.node,
            object=self.object_name,
        )


class Rejected(GantryError):
    """Nothing was changed: the request does not fit the rules or the state."""

    code = "rejected"
    usual = Reason.INPUT


class HooksDenied(Rejected):
    """A pre script of the site said no; the message names every denying script."""

    code = "hooks-denied"


class Superseded(Rejected):
    """An agent has seen a higher epoch than the one that this came with; nothing was done."""

    code = "superseded"


class OperationFailed(GantryError):
    """It was tried, and what had been done was undone."""

    code = "failed"


class Cancelled(OperationFailed):
    """The job was cancelled, and what had been done was undone."""

    code = "cancelled"


class Interrupted(OperationFailed):
    """The agent was restarted while a script ran; what was left of the script was ended."""

    code = "interrupted"


class Unavailable(GantryError):
    """The request may be right; a part that it needs does not answer now."""

    code = "unavailable"


class TooLate(Unavailable):
    """The order came to its agent, or its turn came, after its time; it was not begun."""

    code = "too-late"


class OtherClock(Unavailable):
    """The agent's clock is not the one that the order was timed on; it was not begun."""

    code = "other-clock"


class Stopping(Unavailable):
    """The agent is being stopped, or was a moment ago. An order was not begun, or was ended: the
    next agent on the node does it when it is given again.
    """

    code = "stopping"


_BY_CODE: dict[str, type[GantryError]] = {
    kind.code: kind
    for kind in (
        GantryError,
        Rejected,
        HooksDenied,
        Superseded,
        OperationFailed,
        Cancelled,
        Interrupted,
        Unavailable,
        TooLate,
        OtherClock,
        Stopping,
    )
}


def from_info(info: ErrorInfo) -> GantryError:
    """The error again, from its data; an unknown code becomes the base class."""
    return _BY_CODE.get(info.code, GantryError)(
        info.message, info.hint, reason=info.reason, node=info.node, object_name=info.object
    )
