"""Switching scripts off and on again: the order, and what a node keeps of it."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from gantry.model.asking import Nothing, Order

SCRIPT: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}(?:\.d)?/[a-zA-Z0-9_-]{1,255}")
"""``directory/name`` of a script that may run."""


class Switched(msgspec.Struct, frozen=True, kw_only=True):
    """The last word on one script (``directory/name``). ``since`` is in seconds since 1970.

    One that is ``enabled`` is kept for a while, so that an older word which comes late is known
    to be one.
    """

    script: str
    enabled: bool
    since: float
    by: str = ""
    reason: str = ""
    job: int = 0


class HookSwitch(Order[Nothing], frozen=True, kw_only=True, tag="hook-switch"):
    """Switch scripts off, or on again; of each the later word counts."""

    scripts: tuple[str, ...]
    enabled: bool
    since: float
    by: str = ""
    reason: str = ""
