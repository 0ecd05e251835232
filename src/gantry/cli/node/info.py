"""``gnt-node info``."""

from __future__ import annotations

import argparse
import json
import sys

from gantry.cli import table
from gantry.cli.errors import Usage
from gantry.client.connection import Connection, quoted

EXAMPLES = """
gnt-node info node2
gnt-node info --all
gnt-node info --json node2
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which ones."""
    parser.add_argument("names", nargs="*", metavar="NODE", help="default: all")
    parser.add_argument("--all", action="store_true", help="all of the cluster")


def run(arguments: argparse.Namespace) -> int:
    """Show them."""
    connection = Connection()
    names = arguments.names
    if names and arguments.all:
        raise Usage("give names or --all, not both")
    if not names:
        names = [row[0] for row in connection.get("query/node", fields="name")["rows"]]
    found = [connection.get(f"nodes/{quoted(name)}") for name in names]
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        sys.stdout.write("\n".join(table.document(one) for one in found))
    return 0
