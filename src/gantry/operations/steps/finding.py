"""One thing that verification has to say."""

from __future__ import annotations

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be; ``level`` is ERROR, WARNING or NOTICE.

    ``details`` are lines that follow the message.
    """

    code: str
    kind: str
    item: str
    message: str
    level: str = "ERROR"
    details: tuple[str, ...] = ()
