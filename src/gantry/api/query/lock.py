"""What can be listed of locks: those that somebody holds or waits for."""

from __future__ import annotations

from typing import Final

from gantry.api.query.common import attribute, field, or_unavailable
from gantry.api.query.fields import Field, Fields, Kind
from gantry.api.query.view import View
from gantry.api.services import LockRow

DEFAULT: Final = ("name", "mode", "owner", "pending")

_ALL: Final[list[Field[View, LockRow]]] = [
    attribute("name", "Name", Kind.TEXT, "Kind and object of the lock"),
    field(
        "mode",
        "Mode",
        Kind.TEXT,
        "shared or exclusive",
        lambda view, lock: or_unavailable(lock.mode),
    ),
    field("owner", "Owner", Kind.OTHER, "Jobs that hold it", lambda view, lock: list(lock.owners)),
    field(
        "pending",
        "Pending",
        Kind.OTHER,
        "Jobs that wait for it",
        lambda view, lock: list(lock.pending),
    ),
]
FIELDS: Final[Fields[View, LockRow]] = Fields("lock", DEFAULT, _ALL)
