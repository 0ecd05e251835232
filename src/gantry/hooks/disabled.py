"""Which scripts an operator has switched off: by ``gnt-hook disable``, with who and why."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from gantry.model.hook_switch import Switched

FILE: Final = ".disabled.json"
"""In the directory of hooks; a bundle has no file whose name begins with a dot."""
LIMIT: Final = 1024 * 1024
"""Bytes."""
PREFIX: Final = "it is disabled"
"""How the reason for skipping such a script begins."""
_KEPT: Final = 200
"""Scripts that are on again of which the last word is kept."""
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(tuple[Switched, ...])


def parse(content: bytes) -> dict[str, Switched]:
    """The last word on each script; ValueError where the file is none."""
    try:
        return {one.script: one for one in _decoder.decode(content)}
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None


def text(known: Mapping[str, Switched]) -> bytes:
    """The file's content."""
    entries = sorted(known.values(), key=lambda one: one.script)
    return msgspec.json.format(msgspec.json.encode(entries), indent=1) + b"\n"


def merged(known: Mapping[str, Switched], words: Iterable[Switched]) -> dict[str, Switched]:
    """With these words, of which each counts where it is later than what is known."""
    found = dict(known)
    for word in words:
        before = found.get(word.script)
        if before is None or before.since <= word.since:
            found[word.script] = word
    on = sorted((one for one in found.values() if one.enabled), key=lambda one: -one.since)
    for one in on[_KEPT:]:
        del found[one.script]
    return found


def why(word: Switched) -> str:
    """Why a script does not run; "" where it does."""
    if word.enabled:
        return ""
    who = f" by {word.by}" if word.by else ""
    job = f" (job {word.job})" if word.job else ""
    reason = f": {word.reason}" if word.reason else ""
    return f"{PREFIX}{_since(word.since)}{who}{job}{reason}"


def _since(seconds: float) -> str:
    try:
        day = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        # No such day: somebody wrote the file by hand. What it switches off stays off.
        return ""
    return f" since {day:%Y-%m-%d %H:%M} UTC"
