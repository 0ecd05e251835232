"""What the listings of gnt-hook share: ask, and show rows."""

from __future__ import annotations

import sys

from gantry.cli import table
from gantry.client.connection import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def options(parser: argparse.ArgumentParser) -> None:
    """How to show them."""
    parser.add_argument("--no-headers", action="store_true", help="leave the titles out")
    parser.add_argument("--separator", metavar="TEXT", help="between columns, instead of aligning")


def show(path: str, arguments: argparse.Namespace, *names: str) -> int:
    """Ask for ``path`` with those of the named arguments that were given; show the rows."""
    query = {name: str(value) for name in names if (value := getattr(arguments, name)) is not None}
    answer = Connection().get(path, **query)
    if arguments.json:
        sys.stdout.write(table.objects(answer["fields"], answer["rows"]))
    else:
        sys.stdout.write(
            table.show(
                answer["fields"],
                answer["rows"],
                headers=not arguments.no_headers,
                separator=arguments.separator,
            )
        )
    for one in answer["problems"]:
        sys.stderr.write(f"{one['node']} is missing: {one['problem']}\n")
    return 0
