"""Fields that several resources have, from one declaration each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gantry.api.query.fields import Field, Kind, Missing, Pattern
from gantry.model.entities import Entity, Parameters, ParameterValue

Of = Callable[[Any, Any], Any]


def field(name: str, title: str, kind: Kind, doc: str, get: Of) -> Field[Any, Any]:
    """A field; ``get`` is given view and object."""
    return Field(name, title, kind, doc, get)


def text(name: str, title: str, doc: str, get: Of) -> Field[Any, Any]:
    """A field of text."""
    return Field(name, title, Kind.TEXT, doc, get)


def attribute(name: str, title: str, kind: Kind, doc: str) -> Field[Any, Any]:
    """A field that the object has under the same name."""
    return Field(name, title, kind, doc, lambda view, one: getattr(one, name))


def or_unavailable(value: Any) -> Any:
    """``value``, or that there is none."""
    return Missing.UNAVAILABLE if value is None else value


def entity_fields(what: str, prefix: str) -> list[Field[Any, Any]]:
    """What all stored objects have; ``prefix`` begins the title of the name."""
    return [
        attribute("name", prefix, Kind.TEXT, f"Name of the {what}"),
        attribute("uuid", "UUID", Kind.TEXT, f"Identifier of the {what}, never used again"),
        attribute("ctime", "CTime", Kind.TIMESTAMP, "When it was made"),
        attribute("mtime", "MTime", Kind.TIMESTAMP, "When it was last changed"),
        attribute("serial_no", "SerialNo", Kind.NUMBER, "How often it was changed, from 1"),
        field("tags", "Tags", Kind.OTHER, "Its tags, sorted", _tags),
    ]


def _tags(view: Any, one: Entity) -> list[str]:
    return sorted(one.tags)


def parameter_kind(name: str, default: ParameterValue) -> Kind:
    """How a parameter is shown, from its name and default."""
    if name.endswith("mem"):
        return Kind.UNIT
    match default:
        case bool():
            return Kind.BOOL
        case int():
            return Kind.NUMBER
        case float():
            return Kind.FLOAT
        case _:
            return Kind.TEXT


def parameters(
    prefix: str,
    known: Mapping[str, ParameterValue],
    what: str,
    filled: Callable[[Any, Any], Parameters],
) -> Pattern[Any, Any]:
    """Fields such as ``be/maxmem``: one for each known parameter."""

    def make(name: str) -> Field[Any, Any] | None:
        if name not in known:
            return None
        return Field(
            "",
            prefix + name,
            parameter_kind(name, known[name]),
            f'The {what} parameter "{name}"',
            lambda view, one: or_unavailable(filled(view, one).get(name)),
        )

    return Pattern(prefix, make, tuple(sorted(known)))
