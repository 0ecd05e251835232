"""Comparing the value of a field with the value in a filter.

A value that is missing fits nothing but ``!=``, ``!~``, ``!*`` and ``not in``. A list fits
``=~`` and ``=*`` when one of its members does.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

from gantry.api.query.fields import Field, Kind, Missing
from gantry.api.query.patterns import Pattern
from gantry.api.query.selection import glob
from gantry.api.query.view import View
from gantry.model import sizes
from gantry.model.errors import Rejected

_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OPPOSITE: Final = {"!=": "==", "!~": "=~", "!*": "=*", "!in": "in"}
_NUMBERS: Final = (Kind.NUMBER, Kind.FLOAT, Kind.TIMESTAMP, Kind.UNIT)

Test = Callable[[View, Any], bool]


def test(field: Field[View, Any], sign: str, value: Any) -> Test:
    """Whether ``field sign value`` holds; Rejected where the two cannot be compared."""
    get = field.get
    if sign in _OPPOSITE:
        positive = test(field, _OPPOSITE[sign], value)
        return lambda view, one: not positive(view, one)
    if sign in ("=", "=="):
        wanted = _fitting(field, value)
        return lambda view, one: _equal(get(view, one), wanted)
    if sign in _ORDER:
        compare, limit = _ORDER[sign], _fitting(field, value)
        return lambda view, one: _ordered(compare, get(view, one), limit)
    if sign == "in":
        return lambda view, one: _has(get(view, one), value)
    fits = _fits(sign, value)
    return lambda view, one: _any(fits, get(view, one))


def truth(value: Any) -> bool:
    """What a bare field says."""
    return not isinstance(value, Missing) and bool(value)


def _fitting(field: Field[View, Any], value: Any) -> Any:
    """``value`` as the kind of the field has it."""
    if field.kind is Kind.UNIT and isinstance(value, str):
        return sizes.parse(value, field.name)
    if field.kind is Kind.TEXT and not isinstance(value, str):
        return str(value)
    if field.kind in _NUMBERS and isinstance(value, str):
        return _number(field, value)
    if field.kind is Kind.BOOL and not isinstance(value, bool | int):
        raise Rejected(f"{field.name} is True or False, not {value!r}")
    return value


def _number(field: Field[View, Any], text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Rejected(f"{field.name} is a number, and {text!r} is none") from None


def _equal(value: Any, wanted: Any) -> bool:
    return not isinstance(value, Missing) and bool(value == wanted)


def _ordered(compare: Callable[[Any, Any], bool], value: Any, limit: Any) -> bool:
    try:
        return bool(compare(value, limit))
    except TypeError:
        # A list or nothing has no order beside a number: so it does not fit.
        return False


def _has(value: Any, wanted: Any) -> bool:
    return isinstance(value, list | tuple | set | dict | frozenset) and wanted in value


def _fits(sign: str, value: Any) -> Callable[[str], bool]:
    if isinstance(value, Pattern):
        return value.found_in
    if sign == "=*" and isinstance(value, str):
        return glob(value)
    raise Rejected(f"{sign} needs a text in quotes, not {value!r}")


def _any(fits: Callable[[str], bool], value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(fits(str(one)) for one in value if one is not None)
    return value is not None and not isinstance(value, Missing) and fits(str(value))
