"""``gnt-backup list``."""

from __future__ import annotations

import argparse
import sys

from gantry.cli import table
from gantry.cli.errors import Usage
from gantry.client.connection import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXAMPLES = """
gnt-backup list
gnt-backup list -n node2
gnt-backup list -o node,export,time,size
gnt-backup list --points
gnt-backup list --json
"""

FIELDS = {
    "node": ("text", "Node", "where the export is"),
    "export": ("text", "Export", "the name of the instance"),
    "time": ("timestamp", "Time", "when it was made, or its last point"),
    "os": ("text", "OS", "the OS definition whose scripts made it; none: raw content"),
    "disks": ("number", "Disks", "how many it has"),
    "size": ("unit", "Size", "what its files take"),
    "points": ("number", "Points", "how many points of time it has"),
    "point": ("number", "Point", "with --points: which one this is, for --point of import"),
    "kind": ("text", "Kind", "with --points: full, or incremental upon the point before"),
    "problem": ("text", "Problem", "why it cannot be imported"),
}
_USUAL = ["node", "export"]
_POINTS = [*_USUAL, "point", "time", "kind", "size"]


def options(parser: argparse.ArgumentParser) -> None:
    """Which, and how to show them."""
    parser.add_argument(
        "-n", "--node", action="append", default=[], metavar="NODE", help="only of this node"
    )
    parser.add_argument(
        "-o", "--output", metavar="FIELDS", help="of " + ", ".join(FIELDS) + "; +FIELD,… adds"
    )
    parser.add_argument(
        "--points", action="store_true", help="a line for each point of incremental exports"
    )
    parser.add_argument("--no-headers", action="store_true", help="leave the titles out")
    parser.add_argument("--separator", metavar="TEXT", help="between columns")
    parser.add_argument("--units", choices="hmgt", help="of sizes")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="say in words why a value is missing"
    )


def run(arguments: argparse.Namespace) -> int:
    """One line an export; a node that does not answer is named on stderr."""
    query = {"nodes": ",".join(arguments.node)} if arguments.node else {}
    answer = Connection().get("exports", **query)
    for name, why in sorted(answer["unknown"].items()):
        sys.stderr.write(f"the exports of {name} are not known: {why}\n")
    names = _names(arguments.output, _POINTS if arguments.points else _USUAL)
    fields: list[dict[str, Any]] = [
        {"name": name, "kind": FIELDS[name][0], "title": FIELDS[name][1]} for name in names
    ]
    found = _by_point(answer["exports"]) if arguments.points else _whole(answer["exports"])
    rows = [[one[name] for name in names] for one in found]
    if arguments.json:
        sys.stdout.write(table.objects(fields, rows))
        return 0
    sys.stdout.write(
        table.show(
            fields,
            rows,
            headers=not arguments.no_headers,
            separator=arguments.separator,
            units=arguments.units,
            verbose=arguments.verbose,
        )
    )
    return 0


def _whole(exports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**one, "points": len(one["points"]), "point": None, "kind": None} for one in exports]


def _by_point(exports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            **one,
            "points": len(one["points"]),
            "point": point["number"],
            "kind": "incremental" if point["incremental"] else "full",
            "time": point["time"],
            "size": point["size"],
            "problem": one["problem"] or point["problem"],
        }
        for one in exports
        for point in one["points"]
    ]


def _names(text: str | None, usual: list[str]) -> list[str]:
    if not text:
        return usual
    names = [*usual, *text[1:].split(",")] if text.startswith("+") else text.split(",")
    for name in names:
        if name not in FIELDS:
            raise Usage(f"exports have no field {name!r}", "known are " + ", ".join(FIELDS))
    return names
