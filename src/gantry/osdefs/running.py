"""What running any script of a definition has in common: the way it ended, in words.

The running itself is ``gantry.host``'s. Which variables a script gets is
``gantry.osdefs.environment``'s business.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from gantry.model.errors import Reason, Rejected
from gantry.model.live import OsFacts
from gantry.osdefs import check
from gantry.osdefs.search import Finder
from gantry.osdefs.variants import split

OnStarted: TypeAlias = Callable[[int], None]
"""Told the process id of a script that has started (its session's and group's as well)."""
MAX_OUTPUT: Final = 1 << 16
_SHORTEST_SECRET: Final = 4
_REDACTED: Final = "<redacted>"


def usable(finder: Finder, os_name: str) -> OsFacts:
    """The valid definition behind ``os_name``, or Rejected: not there, or not valid."""
    base = split(os_name)[0]
    facts = finder.lookup(base)
    if facts is None:
        raise Rejected(
            f"the OS definition {base!r} was not found",
            "looked in " + ", ".join(finder.search_path) + "; a definition must be on every node, "
            "see gnt-os list and gnt-os diagnose",
            reason=Reason.UNKNOWN,
            object_name=base,
        )
    if not facts.valid:
        raise Rejected(
            f"the OS definition {base} is not valid: {facts.problem}",
            "see gnt-os diagnose",
            reason=Reason.ENVIRONMENT,
            object_name=base,
        )
    if not facts.trusted:
        raise Rejected(
            f"the OS definition {base} has {check.CREATE_UNTRUSTED}, which would have to run in an "
            "installation guest; that is not supported",
            f"offer {check.CREATE} alone in {facts.path}",
            reason=Reason.ENVIRONMENT,
            object_name=base,
        )
    return facts


def redact(text: str, secrets: Iterable[str]) -> str:
    """``text`` without private and secret values, should a script have printed one.

    Values of less than 4 characters stay: they are found in any text.
    """
    for value in sorted(set(secrets), key=len, reverse=True):
        if len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, _REDACTED)
    return text


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a script ended: ``how`` is a phrase such as "ended with exit status 3"."""

    succeeded: bool
    how: str
    output: str = ""


async def run(
    facts: OsFacts,
    script: str,
    arguments: tuple[str, ...],
    *,
    environment: Mapping[str, str],
    timeout: float,
    output: Path | None = None,
    on_started: OnStarted | None = None,
) -> Ended:
    """Run one script of a definition to its end, with exactly ``environment``.

    It has its own session, the definition's directory to work in, umask 077 and no input.
    What it prints is appended to the file ``output``, or comes back, up to 64 KiB of it. Its
    whole process group is ended at ``timeout`` (seconds) and when this call is cancelled.
    """
    raise NotImplementedError


def ending(
    *, exit_status: int | None, signal_number: int | None, timed_out: bool, timeout: float
) -> str:
    """How a script ended, such as "ended with exit status 3"."""
    if timed_out:
        return f"did not end within {timeout:g} s, so its processes were ended"
    if signal_number is not None:
        return f"was ended by signal {signal_number} ({_signal_name(signal_number)})"
    return f"ended with exit status {exit_status}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
