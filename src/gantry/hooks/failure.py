"""Why an operation did not succeed, as its ``-fail.d`` scripts are told."""

from __future__ import annotations

import enum
from typing import Final

_LONGEST: Final = 2000


class FailureKind(enum.StrEnum):
    """``GANTRY_FAILURE``."""

    DENIED = "denied"
    """A pre script of some node said no."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNWOUND = "unwound"
    """The master died, and the next one could not go on."""


def variables(kind: FailureKind, message: str) -> dict[str, str]:
    """The variables that say so, with their whole names."""
    return {"GANTRY_FAILURE": kind.value, "GANTRY_FAILURE_MESSAGE": shortened(message)}


def shortened(message: str) -> str:
    """As much as a variable may hold, and nothing that it cannot."""
    return message.replace("\0", " ")[:_LONGEST]
