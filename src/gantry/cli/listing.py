"""What every ``list`` and ``list-fields`` does: ask, and show rows. Nothing heavy here."""

from __future__ import annotations

import gc
import sys

from gantry.cli import table
from gantry.cli.errors import Usage
from gantry.client.connection import Connection
from gantry.client.errors import ApiError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

_FIELD_COLUMNS = ("name", "kind", "title", "doc")


def show(resource: str, arguments: argparse.Namespace, extra_filter: str = "") -> int:
    """Ask for the rows of ``resource`` and write them to stdout."""
    # Thousands of rows are made and none is let go before the end: nothing to collect.
    gc.disable()
    answer = Connection().get(f"query/{resource}", **_query(arguments, extra_filter))
    if arguments.json:
        sys.stdout.write(table.objects(answer["fields"], answer["rows"]))
        return 0
    text = table.show(
        answer["fields"],
        answer["rows"],
        missing=table.gaps(answer.get("missing", ())),
        headers=not arguments.no_headers,
        separator=arguments.separator,
        units=arguments.units,
        verbose=arguments.verbose,
    )
    sys.stdout.write(text)
    return 0


def _query(arguments: argparse.Namespace, extra_filter: str) -> dict[str, str]:
    query: dict[str, str] = {}
    if arguments.output:
        query["fields"] = arguments.output
    names = arguments.names
    if arguments.filter and not names:
        raise Usage("-F wants a filter expression", "such as -F 'status == \"running\"'")
    if arguments.filter:
        query["filter"] = " ".join(names)
    elif names:
        query["names"] = ",".join(names)
    if extra_filter:
        given = query.get("filter")
        query["filter"] = f"({given}) and ({extra_filter})" if given else extra_filter
    return query


def fields_options(parser: argparse.ArgumentParser) -> None:
    """Of every ``list-fields``."""
    parser.add_argument("names", nargs="*", metavar="FIELD", help="only these")
    parser.add_argument("--no-headers", action="store_true", help="leave the titles out")
    parser.add_argument("--separator", metavar="TEXT", help="between columns")


def show_fields(resource: str, arguments: argparse.Namespace) -> int:
    """Write the fields that ``list`` of ``resource`` knows."""
    fields = Connection().get(f"query/{resource}/fields")["fields"]
    wanted = [one for one in fields if not arguments.names or one["name"] in arguments.names]
    unknown = set(arguments.names) - {one["name"] for one in fields}
    if unknown:
        what = f"{resource} has no field {', '.join(sorted(unknown))}"
        raise ApiError("unknown-field", what, "without names, all are shown")
    columns: list[dict[str, Any]] = [
        {"name": name, "title": name.capitalize(), "kind": "text"} for name in _FIELD_COLUMNS
    ]
    rows = [[one[name] for name in _FIELD_COLUMNS] for one in wanted]
    if arguments.json:
        text = table.objects(columns, rows)
    else:
        headers = not arguments.no_headers
        text = table.show(columns, rows, headers=headers, separator=arguments.separator)
    sys.stdout.write(text)
    return 0
