"""Rows for people: aligned columns, or separated ones for scripts."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

Rows = Sequence[Sequence[Any]]
Field = dict[str, Any]

_GIB = 1024
_TIB = 1024 * 1024


def size(mebibytes: int, unit: str) -> str:
    """``unit`` h: 512M, 10.0G; m, g, t: the bare number."""
    if unit == "m" or (unit == "h" and mebibytes < _GIB):
        return f"{mebibytes}M" if unit == "h" else str(mebibytes)
    if unit == "g" or (unit == "h" and mebibytes < _TIB):
        return f"{mebibytes / _GIB:.1f}" + ("G" if unit == "h" else "")
    return f"{mebibytes / _TIB:.1f}" + ("T" if unit == "h" else "")


def moment(seconds: float) -> str:
    """A point in time as people read it, in the local time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def cell(value: Any, kind: str, unit: str, missing: str = "-") -> str:
    """One value as text."""
    if value is None:
        return missing
    if kind == "unit" and not isinstance(value, list):
        return size(value, unit)
    if isinstance(value, bool):
        return "Y" if value else "N"
    if kind == "timestamp":
        return moment(value)
    if isinstance(value, list):
        return ",".join(cell(one, kind, unit, missing) for one in value) if value else missing
    if isinstance(value, dict):
        return ", ".join(f"{name}={one}" for name, one in sorted(value.items())) or missing
    return str(value) if value != "" else missing


def formatter(kind: str, unit: str, missing: str) -> Callable[[Any], str]:
    """How values of a column become text; the commonest kind is the shortest way."""
    if kind == "text":
        return lambda value: (
            value if isinstance(value, str) and value else cell(value, kind, unit, missing)
        )
    return lambda value: cell(value, kind, unit, missing)


def show(
    fields: Sequence[Field],
    rows: Rows,
    *,
    headers: bool = True,
    separator: str | None = None,
    units: str | None = None,
    verbose: bool = False,
) -> None:
    """Write the table to stdout; numbers and sizes to the right."""
    unit = units or ("m" if separator is not None else "h")
    missing = "(unavailable)" if verbose else "-"
    columns = []
    for index, field in enumerate(fields):
        as_text = formatter(field["kind"], unit, missing)
        columns.append([as_text(row[index]) for row in rows])
    if headers:
        for column, field in zip(columns, fields, strict=True):
            column.insert(0, field["title"])
    sys.stdout.write(_lines(columns, fields, separator))


def _lines(columns: list[list[str]], fields: Sequence[Field], separator: str | None) -> str:
    if not columns or not columns[0]:
        return ""
    if separator is not None:
        return "".join(separator.join(row) + "\n" for row in zip(*columns, strict=True))
    padded = []
    for position, (column, field) in enumerate(zip(columns, fields, strict=True)):
        width = max(map(len, column))
        if field["kind"] in ("unit", "number"):
            padded.append([text.rjust(width) for text in column])
        elif position < len(columns) - 1:
            padded.append([text.ljust(width) for text in column])
        else:
            padded.append(column)
    return "".join(" ".join(row) + "\n" for row in zip(*padded, strict=True))


def show_json(fields: Sequence[Field], rows: Rows) -> None:
    """An array of objects keyed by field name, sizes in MiB."""
    names = [field["name"] for field in fields]
    objects = [dict(zip(names, row, strict=True)) for row in rows]
    json.dump(objects, sys.stdout, indent=1)
    sys.stdout.write("\n")


def document(value: Any, indent: int = 0) -> str:
    """Nested names and values, as every ``info`` shows them."""
    start = "  " * indent
    lines = []
    if isinstance(value, dict):
        for name, one in value.items():
            if isinstance(one, dict | list) and one:
                lines += [f"{start}{name}:\n", document(one, indent + 1)]
            else:
                lines.append(f"{start}{name}: {_scalar(one)}\n")
    else:
        for one in value:
            if isinstance(one, dict | list):
                inner = document(one, indent + 1)
                lines.append(start + "- " + inner[len(start) + 2 :])
            else:
                lines.append(f"{start}- {_scalar(one)}\n")
    return "".join(lines)


def _scalar(value: Any) -> str:
    if value is None or value in ("", {}, []):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
