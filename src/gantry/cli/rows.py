"""What listings that the master makes share: ask, and show rows."""

from __future__ import annotations

import sys

from gantry.cli import table
from gantry.client.connection import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from typing import Any


def options(parser: argparse.ArgumentParser) -> None:
    """How to show them."""
    parser.add_argument("--no-headers", action="store_true", help="leave the titles out")
    parser.add_argument("--separator", metavar="TEXT", help="between columns, instead of aligning")


def show(
    path: str,
    arguments: argparse.Namespace,
    *names: str,
    columns: Sequence[str],
    rare: Mapping[str, str] | None = None,
) -> int:
    """Ask for ``path`` with those of the named arguments that were given; show the rows.

    ``columns`` are those that people see, where JSON has more; those in ``rare`` only where a
    row has another value than the one there.
    """
    query = {name: str(value) for name in names if (value := getattr(arguments, name)) is not None}
    answer = Connection().get(path, **query)
    if arguments.json:
        _write(arguments, answer["fields"], answer["rows"])
    else:
        _write(arguments, *_chosen(answer, columns, rare or {}))
    for one in answer["problems"]:
        sys.stderr.write(f"{one['node']} is missing: {one['problem']}\n")
    return 0


def write(
    arguments: argparse.Namespace,
    columns: Sequence[tuple[str, str, str]],
    found: Sequence[Sequence[Any]],
) -> int:
    """Show rows; a column is name, title and kind. The exit status."""
    fields = [{"name": name, "title": title, "kind": kind} for name, title, kind in columns]
    _write(arguments, fields, found)
    return 0


def _write(
    arguments: argparse.Namespace, fields: Sequence[Any], found: Sequence[Sequence[Any]]
) -> None:
    if arguments.json:
        sys.stdout.write(table.objects(fields, found))
        return
    sys.stdout.write(
        table.show(fields, found, headers=not arguments.no_headers, separator=arguments.separator)
    )


def _chosen(
    answer: dict[str, Any], columns: Sequence[str], rare: Mapping[str, str]
) -> tuple[list[Any], list[list[Any]]]:
    names = [one["name"] for one in answer["fields"]]
    places = [
        place
        for name in columns
        for place in [names.index(name)]
        if name not in rare or any(row[place] != rare[name] for row in answer["rows"])
    ]
    fields = [answer["fields"][place] for place in places]
    return fields, [[row[place] for place in places] for row in answer["rows"]]
