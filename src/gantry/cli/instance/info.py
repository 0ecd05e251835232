"""``gnt-instance info``."""

from __future__ import annotations

import argparse
import json
import sys

from gantry.cli import ganeti_options, table
from gantry.cli.errors import Usage
from gantry.client.connection import Connection, quoted

EXAMPLES = """
gnt-instance info web1
gnt-instance info --all
gnt-instance info --json web1
"""
_LIVE = ("status", "live")


def options(parser: argparse.ArgumentParser) -> None:
    """Which ones."""
    parser.add_argument("names", nargs="*", metavar="INSTANCE", help="which ones")
    parser.add_argument("--all", action="store_true", help="all of the cluster")
    parser.add_argument(
        "-s", "--static", action="store_true", help="only what is configured, no live state"
    )
    ganeti_options.without_effect(parser, "--roman")
    ganeti_options.without_effect(parser, "--priority", value=True)


def run(arguments: argparse.Namespace) -> int:
    """Show them."""
    connection = Connection()
    names = arguments.names
    if bool(names) == arguments.all:
        raise Usage("give names, or --all")
    if arguments.all:
        names = [row[0] for row in connection.get("query/instance", fields="name")["rows"]]
    found = [connection.get(f"instances/{quoted(name)}") for name in names]
    if arguments.static:
        found = [{key: one[key] for key in one if key not in _LIVE} for one in found]
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        sys.stdout.write("\n".join(table.document(one) for one in found))
    return 0
