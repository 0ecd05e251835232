"""Points in time as people type them."""

from __future__ import annotations

import argparse
import time

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_FORMS = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S")


def since(text: str) -> float:
    """The type of ``--since``: an age, or a local date; in seconds since 1970."""
    number, unit = text[:-1], text[-1:]
    if number.isascii() and number.isdecimal() and len(number) < 9 and unit in _UNITS:
        return time.time() - int(number) * _UNITS[unit]
    for form in _FORMS:
        try:
            return time.mktime(time.strptime(text, form))
        except (ValueError, OverflowError):
            continue
    raise argparse.ArgumentTypeError(
        f"{text!r} is neither an age (30m, 2h, 7d, 1w) nor a date (2026-11-20, '2026-11-20 14:30')"
    )
