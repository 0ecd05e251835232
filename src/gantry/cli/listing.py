"""What every ``list`` and ``list-fields`` does: ask, and show rows. Nothing heavy here."""

from __future__ import annotations

import argparse

from gantry.cli import table
from gantry.client.connection import Connection


def show(resource: str, arguments: argparse.Namespace, extra_filter: str = "") -> int:
    """Ask for the rows of ``resource`` and write them to stdout."""
    query: dict[str, str] = {}
    if arguments.output:
        query["fields"] = arguments.output
    names = arguments.names
    if arguments.filter and names:
        query["filter"] = " ".join(names)
    elif names:
        query["names"] = ",".join(names)
    if extra_filter:
        query["filter"] = extra_filter
    answer = Connection().get(f"query/{resource}", **query)
    if arguments.json:
        table.show_json(answer["fields"], answer["rows"])
        return 0
    table.show(
        answer["fields"],
        answer["rows"],
        headers=not arguments.no_headers,
        separator=arguments.separator,
        units=arguments.units,
        verbose=arguments.verbose,
    )
    return 0


def fields_options(parser: argparse.ArgumentParser) -> None:
    """Of every ``list-fields``."""
    parser.add_argument("names", nargs="*", metavar="FIELD", help="only these")
    parser.add_argument("--no-headers", action="store_true", help="leave the titles out")
    parser.add_argument("--separator", metavar="TEXT", help="between columns")


def show_fields(resource: str, arguments: argparse.Namespace) -> int:
    """Write the fields that ``list`` of ``resource`` knows."""
    fields = Connection().get(f"query/{resource}/fields")["fields"]
    wanted = [one for one in fields if not arguments.names or one["name"] in arguments.names]
    columns = [
        {"name": name, "title": name.capitalize(), "kind": "text"}
        for name in ("name", "kind", "title", "doc")
    ]
    rows = [[one[column["name"]] for column in columns] for one in wanted]
    if arguments.json:
        table.show_json(columns, rows)
    else:
        table.show(columns, rows, headers=not arguments.no_headers, separator=arguments.separator)
    return 0
