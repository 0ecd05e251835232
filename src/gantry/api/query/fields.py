"""Fields: what a listing can show. Declared once each; nothing here knows a resource.

A field's ``get`` answers a plain value, or why there is none.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, Final, Generic, TypeVar

import msgspec

from gantry.model.errors import Rejected

V = TypeVar("V")
O = TypeVar("O")  # noqa: E741 - the object of a row

_LONGEST: Final = 200
_MOST_FIELDS: Final = 200


class Kind(enum.StrEnum):
    """How a value is shown; ``unit`` is MiB, ``timestamp`` seconds since 1970."""

    TEXT = "text"
    BOOL = "bool"
    NUMBER = "number"
    FLOAT = "float"
    UNIT = "unit"
    TIMESTAMP = "timestamp"
    OTHER = "other"


class Missing(enum.Enum):
    """Why there is no value; JSON shows null, and for the last two the reason beside it."""

    UNAVAILABLE = "unavailable"
    """The object has no such thing."""
    NO_DATA = "nodata"
    """Nobody could be asked: the node is down."""
    OFFLINE = "offline"
    """The node is marked offline."""


class UnknownField(Rejected):
    """There is no field of this name."""

    code = "unknown-field"


class Field(msgspec.Struct, Generic[V, O], frozen=True):
    """``get`` is given the view of the cluster and the object of the row."""

    name: str
    title: str
    kind: Kind
    doc: str
    get: Callable[[V, O], Any]

    def described(self) -> dict[str, str]:
        """As clients see it."""
        return {"name": self.name, "title": self.title, "kind": self.kind, "doc": self.doc}


class Pattern(msgspec.Struct, Generic[V, O], frozen=True):
    """Fields such as ``disk.size/N``: ``make`` is given what stands after ``prefix``.

    ``make`` answers None for what is no such field; ``examples`` are shown among the fields.
    """

    prefix: str
    make: Callable[[str], Field[V, O] | None]
    examples: tuple[str, ...]


class Fields(Generic[V, O]):
    """All fields of a resource."""

    def __init__(
        self,
        resource: str,
        default: tuple[str, ...],
        fields: Iterable[Field[V, O]],
        patterns: Iterable[Pattern[V, O]] = (),
        aliases: dict[str, str] | None = None,
    ) -> None:
        self.resource = resource
        self.default = default
        self._fields = {field.name: field for field in fields}
        self._patterns = tuple(patterns)
        self._aliases = aliases or {}

    def find(self, name: str) -> Field[V, O]:
        """The field, or UnknownField with names that are near."""
        found = self._fields.get(name) or self._by_pattern(name)
        if found is None and name in self._aliases:
            found = msgspec.structs.replace(self.find(self._aliases[name]), name=name)
        if found is None:
            raise self._unknown(name)
        return found

    def chosen(self, text: str) -> tuple[Field[V, O], ...]:
        """The fields in ``a,b``; the usual ones where it is empty, and before ``+a,b``."""
        names = list(self.default) if not text or text.startswith("+") else []
        names += [name for name in text.removeprefix("+").split(",") if name]
        if len(names) > _MOST_FIELDS:
            raise Rejected(f"that are too many fields: at most {_MOST_FIELDS}")
        return tuple(self.find(name) for name in names)

    def all(self) -> list[Field[V, O]]:
        """For ``list-fields``, by name."""
        found = list(self._fields.values())
        for pattern in self._patterns:
            found += [self.find(pattern.prefix + example) for example in pattern.examples]
        return sorted(found, key=lambda field: field.name)

    def _by_pattern(self, name: str) -> Field[V, O] | None:
        for pattern in self._patterns:
            if name.startswith(pattern.prefix) and len(name) < _LONGEST:
                made = pattern.make(name.removeprefix(pattern.prefix))
                if made is not None:
                    return msgspec.structs.replace(made, name=name)
        return None

    def _unknown(self, name: str) -> UnknownField:
        shown = name[:_LONGEST]
        names = [field.name for field in self.all()]
        near = get_close_matches(shown, names, 5, 0.5)
        near += [one for one in names if shown and shown in one and one not in near][:5]
        hint = f"did you mean {', '.join(near)}? " if near else ""
        return UnknownField(
            f"{self.resource} has no field {shown!r}",
            f"{hint}gnt-{self.resource} list-fields shows all",
            object_name=shown,
        )


def numbered(
    prefix: str,
    title: str,
    kind: Kind,
    doc: str,
    get: Callable[[V, O, int], Any],
) -> Pattern[V, O]:
    """Fields ``<prefix>N``, N from 0 on."""

    def make(text: str) -> Field[V, O] | None:
        if not (text == "N" or (text.isascii() and text.isdecimal() and len(text) < 4)):
            return None
        number = int(text) if text != "N" else 0
        return Field("", f"{title}/{text}", kind, doc, lambda view, item: get(view, item, number))

    return Pattern(prefix, make, ("N",))
