"""``gnt-os status``."""

from __future__ import annotations

import argparse

from gantry.cli.bundle import standing
from gantry.cli.bundle.kind import definition

EXAMPLES = """
gnt-os status
gnt-os status debian
gnt-os status debian --node node2 --json
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which definition and nodes, and how to show them."""
    parser.add_argument("name", metavar="OS", nargs="?", default="", help="default: all")
    standing.options(parser)


def run(arguments: argparse.Namespace) -> int:
    """A line a definition and node, asked now: which version it is to have, and has."""
    return standing.show(arguments, definition(arguments.name))
