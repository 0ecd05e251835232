"""Rows for people: aligned columns, or separated ones for scripts; nested values for ``info``.

Pure formatting: nothing is asked of the master here.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    Rows = Sequence[Sequence[Any]]
    Field = dict[str, Any]
    Gaps = dict[tuple[int, int], str]

_GIB = 1024
_TIB = 1024 * 1024
_RIGHT = ("unit", "number", "float")
_SHORT = {"unavailable": "-", "nodata": "?", "offline": "*"}
_WORDS = {"unavailable": "(unavail)", "nodata": "(nodata)", "offline": "(offline)"}
_MOMENTS = ("ctime", "mtime", "since", "start", "execution", "end", "certificate_expires")
_SIZES = ("size", "memory", "maxmem", "minmem")
_MOVING = (*range(9), *range(10, 32), *range(127, 160))
_TURNING = (0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
"""What changes the direction of writing, or ends a line: a text would not look like what it is."""
_UNPRINTABLE = {code: f"\\x{code:02x}" for code in _MOVING} | {
    code: f"\\u{code:04x}" for code in _TURNING
}


def size(mebibytes: float, unit: str) -> str:
    """``unit`` h: 512M, 10.0G; m, g, t: the bare number."""
    if unit == "m" or (unit == "h" and mebibytes < _GIB):
        return f"{mebibytes:.0f}M" if unit == "h" else f"{mebibytes:.0f}"
    if unit == "g" or (unit == "h" and mebibytes < _TIB):
        return f"{mebibytes / _GIB:.1f}" + ("G" if unit == "h" else "")
    return f"{mebibytes / _TIB:.1f}" + ("T" if unit == "h" else "")


def moment(seconds: float) -> str:
    """A point in time as people read it, in the local time zone."""
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def cell(value: Any, kind: str, unit: str, missing: str = "-") -> str:
    """One value as text."""
    if value is None:
        return missing
    if isinstance(value, bool):
        return "Y" if value else "N"
    if isinstance(value, list):
        return ",".join(cell(one, kind, unit, "-") for one in value) if value else missing
    if kind == "unit" and isinstance(value, int | float):
        return size(value, unit)
    if kind == "timestamp" and isinstance(value, int | float):
        return moment(value)
    if isinstance(value, dict):
        shown = (f"{name}={cell(one, 'other', unit)}" for name, one in sorted(value.items()))
        return ", ".join(shown) or missing
    return printable(str(value)) if value != "" else missing


def printable(text: str) -> str:
    """``text`` without what moves the cursor, changes colours or turns it: others wrote it."""
    return text if text.isprintable() else text.translate(_UNPRINTABLE)


def formatter(kind: str, unit: str, missing: str) -> Callable[[Any], str]:
    """How values of a column become text; the commonest kind is the shortest way."""
    if kind == "text":

        def text(value: Any) -> str:
            if value.__class__ is str and value and value.isprintable():
                return str(value)
            return cell(value, kind, unit, missing)

        return text
    return lambda value: cell(value, kind, unit, missing)


def gaps(missing: Iterable[Sequence[Any]]) -> Gaps:
    """The API's list of (row, column, why) by place."""
    return {(row, column): why for row, column, why in missing}


def show(
    fields: Sequence[Field],
    rows: Rows,
    *,
    missing: Gaps | None = None,
    headers: bool = True,
    separator: str | None = None,
    units: str | None = None,
    verbose: bool = False,
) -> str:
    """The table as text; numbers and sizes to the right."""
    unit = units or ("m" if separator is not None else "h")
    words = _WORDS if verbose else _SHORT
    columns: list[list[str]] = []
    for field, values in zip(fields, _columns(rows, len(fields)), strict=True):
        as_text = formatter(field["kind"], unit, words["unavailable"])
        columns.append([as_text(value) for value in values])
    for (row, column), why in (missing or {}).items():
        columns[column][row] = words.get(why, "-")
    if headers:
        for column_, field in zip(columns, fields, strict=True):
            column_.insert(0, field["title"])
    return _lines(columns, fields, separator)


def _columns(rows: Rows, count: int) -> Iterable[Sequence[Any]]:
    return zip(*rows, strict=True) if rows else [()] * count


def _lines(columns: list[list[str]], fields: Sequence[Field], separator: str | None) -> str:
    if not columns or not columns[0]:
        return ""
    if separator is not None:
        return "".join([separator.join(row) + "\n" for row in zip(*columns, strict=True)])
    marks = []
    last = len(columns) - 1
    for position, (column, field) in enumerate(zip(columns, fields, strict=True)):
        width = max(map(len, column))
        if field["kind"] in _RIGHT:
            marks.append(f"%{width}s")
        else:
            marks.append(f"%-{width}s" if position < last else "%s")
    line = " ".join(marks) + "\n"
    return "".join([line % row for row in zip(*columns, strict=True)])


def objects(fields: Sequence[Field], rows: Rows) -> str:
    """As JSON: an array of objects keyed by field name, sizes in MiB, a row a line."""
    import json

    names = [field["name"] for field in fields]
    encode = json.JSONEncoder().encode
    lines = [encode(dict(zip(names, row, strict=True))) for row in rows]
    return "[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n"


_FOLLOWING = " " * 8
"""Before the further lines of a value that has several."""


def document(value: Any, indent: int = 0) -> str:
    """Nested names and values, as every ``info`` shows them."""
    start = "  " * indent
    lines = []
    if isinstance(value, dict):
        for name, one in value.items():
            if isinstance(one, dict | list) and one:
                lines += [f"{start}{printable(name)}:\n", document(one, indent + 1)]
            else:
                lines.append(f"{start}{printable(name)}: {_scalar(name, one)}\n")
    else:
        for one in value:
            if isinstance(one, dict | list) and one:
                inner = document(one, indent + 1)
                lines.append(start + "- " + inner[len(start) + 2 :])
            else:
                lines.append(f"{start}- {_scalar('', one)}\n")
    return "".join(lines)


def _scalar(name: str, value: Any) -> str:
    if value is None or value in ("", {}, []):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) and name in _MOMENTS:
        return moment(value)
    if isinstance(value, int) and (name in _SIZES or name.startswith(("memory_", "disk_"))):
        return size(value, "h")
    lines = str(value).rstrip().split("\n")
    return ("\n" + _FOLLOWING).join(printable(line) for line in lines)
