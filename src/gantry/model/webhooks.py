"""What a webhook's address, secret and choice of events may be. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from gantry.model.errors import Rejected

EVENTS: Final = (
    "hooks", "hook-script", "job", "job-archived", "instance", "instance-gone", "node", "node-gone",
    "missed", "test",
)  # fmt: skip
"""The events that there are."""
MAX_URL: Final = 2000
MIN_SECRET: Final = 16
MAX_SECRET: Final = 1024
MAX_WEBHOOKS: Final = 50
_CHOICE: Final = re.compile(r"([a-z-]+)(?::([A-Za-z_*?-]{1,40}))?")
_SECRET: Final = re.compile(r"[\x21-\x7e]+")


def url(text: str) -> str:
    """The address, or Rejected. The text itself is never in a message: it may be a secret."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Rejected(f"the address of the webhook is none: {error}") from None
    printable = text.isascii() and text.isprintable() and " " not in text
    if parts.scheme not in ("https", "http") or not host or not printable or len(text) > MAX_URL:
        raise Rejected(
            "the address of a webhook is https://HOST/PATH (or http://), in ASCII, at most "
            f"{MAX_URL} characters"
        )
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise Rejected(
            "the address of a webhook has no user, password or fragment",
            "the receiver knows us by the signature; a token can be part of the path",
        )
    if port == 0:
        raise Rejected("0 is no port")
    return text


def shown(text: str) -> str:
    """As others than those who may change it see it: paths of many services are secrets."""
    parts = urlsplit(text)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}/…"


def secret(text: str) -> str:
    """The key of the signatures, or Rejected."""
    if not MIN_SECRET <= len(text) <= MAX_SECRET or not _SECRET.fullmatch(text):
        raise Rejected(
            f"the secret of a webhook has {MIN_SECRET} to {MAX_SECRET} printable ASCII characters "
            "without blanks",
            "such as: openssl rand -hex 32 > FILE",
        )
    return text


def choice(events: Iterable[str]) -> tuple[str, ...]:
    """Which events are wanted, each ``EVENT`` or ``EVENT:STATE``; or Rejected."""
    found = tuple(dict.fromkeys(events))
    for one in found:
        match = _CHOICE.fullmatch(one)
        if match is None or match[1] not in EVENTS:
            raise Rejected(
                f"{one!r} chooses no event",
                "EVENT or EVENT:STATE, such as hook-script:failed or job:error; a state may have "
                f"* and ?. Events: {', '.join(EVENTS)}",
            )
    return found


def wanted(chosen: Iterable[str], event: Mapping[str, Any]) -> bool:
    """Whether an event is among those that were chosen; where nothing was, all are."""
    chosen = tuple(chosen)
    if not chosen:
        return True
    name = event.get("event", "")
    state = str(event.get("state", event.get("status", "")))
    return any(_fits(one, name, state) for one in chosen)


def _fits(one: str, name: str, state: str) -> bool:
    event, colon, pattern = one.partition(":")
    return event == name and (not colon or fnmatch.fnmatchcase(state, pattern))
