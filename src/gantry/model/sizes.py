"""Sizes as people write them: MiB as integers inside, ``4G`` outside.

1024-based throughout; a bare number is MiB.
"""

from __future__ import annotations

import re
from typing import Final

from gantry.model.errors import Rejected

_SIZE: Final = re.compile(
    r"([0-9]{1,15})(?:\.([0-9]{1,15}))?\s*(?:([mgt])(?:i?b)?)?", re.IGNORECASE | re.ASCII
)
_FACTOR: Final = {"m": 1, "g": 1024, "t": 1024 * 1024}
_MAXIMUM: Final = 1 << 40


def parse(text: str, what: str = "the size") -> int:
    """``text`` (``256``, ``10G``, ``1.5t``) in MiB, rounded up, at least 1; or Rejected."""
    hint = "write a number with M, G or T, such as 512M or 1.5G; a bare number is MiB"
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise Rejected(f"{what} {text!r} is not a size", hint)
    whole, fraction, unit = match.groups()
    factor = _FACTOR[(unit or "m").lower()]
    value = int(whole) * factor
    if fraction:
        scale = 10 ** len(fraction)
        value += -(-int(fraction) * factor // scale)
    if value < 1:
        raise Rejected(f"{what} must be at least 1 MiB, not {text!r}", hint)
    if value > _MAXIMUM:
        raise Rejected(f"{what} {text!r} is beyond any disk", hint)
    return value


def show(mebibytes: int, unit: str = "h") -> str:
    """``mebibytes`` for people (``h``: 1.0G) or as a number in ``m``, ``g`` or ``t``."""
    if unit == "m" or (unit == "h" and mebibytes < 1024):
        return f"{mebibytes}M" if unit == "h" else str(mebibytes)
    if unit == "g" or (unit == "h" and mebibytes < 1024 * 1024):
        return f"{mebibytes / 1024:.1f}" + ("G" if unit == "h" else "")
    return f"{mebibytes / 1024 / 1024:.1f}" + ("T" if unit == "h" else "")
