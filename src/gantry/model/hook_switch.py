"""Switching scripts off and on again: the order, and what a node keeps of it."""

from __future__ import annotations

import msgspec

from gantry.model.asking import Nothing, Order


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
