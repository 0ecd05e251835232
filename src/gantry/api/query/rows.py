"""Rows as JSON, kept as long as nothing that they are made of has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from gantry.api.query.fields import Field, Missing
from gantry.model.names import Uuid

V = TypeVar("V")
O = TypeVar("O")  # noqa: E741 - the object of a row


class HasUuid(Protocol):
    """What rows can be kept of."""

    @property
    def uuid(self) -> Uuid:
        """Of the object."""


E = TypeVar("E", bound=HasUuid)

Gap = tuple[int, str]
"""A column without a value, and why; what merely is not there has no gap."""

_encoder = msgspec.json.Encoder()


def row(fields: Sequence[Field[V, O]], view: V, one: O) -> tuple[bytes, tuple[Gap, ...]]:
    """One row as JSON, and its gaps."""
    values: list[Any] = []
    gaps: list[Gap] = []
    for column, field in enumerate(fields):
        value = field.get(view, one)
        if isinstance(value, Missing):
            if value is not Missing.UNAVAILABLE:
                gaps.append((column, value.value))
            value = None
        values.append(value)
    return _encoder.encode(values), tuple(gaps)


def document(
    fields: Sequence[Field[Any, Any]], rows: Iterable[tuple[bytes, tuple[Gap, ...]]]
) -> bytes:
    """``{"fields": […], "rows": […], "missing": [[row, column, why], …]}``."""
    encoded: list[bytes] = []
    missing: list[tuple[int, int, str]] = []
    for data, gaps in rows:
        if gaps:
            missing += [(len(encoded), column, why) for column, why in gaps]
        encoded.append(data)
    head = _encoder.encode([field.described() for field in fields])
    return b"".join(
        (
            b'{"fields":',
            head,
            b',"rows":[',
            b",".join(encoded),
            b'],"missing":',
            _encoder.encode(missing),
            b"}",
        )
    )


class Kept(Generic[V, E]):
    """The rows of one choice of fields. ``depends`` answers what a row is made of."""

    def __init__(
        self, fields: Sequence[Field[V, E]], depends: Callable[[V, E], tuple[Any, ...]]
    ) -> None:
        self._fields = fields
        self._depends = depends
        self._rows: dict[Uuid, tuple[tuple[Any, ...], tuple[bytes, tuple[Gap, ...]]]] = {}

    def rows(self, view: V, objects: Iterable[E]) -> list[tuple[bytes, tuple[Gap, ...]]]:
        """A row for each of ``objects``."""
        kept, depends, fields = self._rows, self._depends, self._fields
        found = []
        for one in objects:
            now = depends(view, one)
            uuid = one.uuid
            entry = kept.get(uuid)
            # Compares by identity first: what did not change is the same object.
            if entry is None or entry[0] != now:
                entry = kept[uuid] = (now, row(fields, view, one))
            found.append(entry[1])
        return found

    def forget(self, present: Iterable[Uuid]) -> None:
        """Drop rows of objects that are gone."""
        here = set(present)
        self._rows = {uuid: entry for uuid, entry in self._rows.items() if uuid in here}

    def __len__(self) -> int:
        return len(self._rows)
