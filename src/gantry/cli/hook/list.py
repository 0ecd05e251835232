"""``gnt-hook list``."""

from __future__ import annotations

import argparse

from gantry.cli import rows

EXAMPLES = """
gnt-hook list
gnt-hook list --operation instance-add
gnt-hook list --operation OP_INSTANCE_STARTUP --node node2
gnt-hook list --json
"""
_SHOWN = (
    "operation",
    "phase",
    "node",
    "order",
    "script",
    "version",
    "timeout",
    "run_as",
    "unreachable",
    "skipped",
)
_RARE = {"run_as": "", "unreachable": "ignored"}
"""Columns that are left out where all have the usual value."""


def options(parser: argparse.ArgumentParser) -> None:
    """Which scripts, and how to show them."""
    parser.add_argument(
        "--operation",
        metavar="OP",
        help="only of this operation: a directory's prefix such as instance-add, or its code",
    )
    parser.add_argument("-n", "--node", metavar="NODE", help="only on this node")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="also show which nodes a directory is read on"
    )
    rows.options(parser)


def run(arguments: argparse.Namespace) -> int:
    """A line for each script of each phase on each node, in the order in which they run."""
    more = ("nodes",) if arguments.verbose else ()
    return rows.show("hooks", arguments, "operation", "node", columns=(*_SHOWN, *more), rare=_RARE)
