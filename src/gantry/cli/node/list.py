"""``gnt-node list``."""

from __future__ import annotations

import argparse

from gantry.cli import listing
from gantry.cli import options as shared

EXAMPLES = """
gnt-node list
gnt-node list -o +role,mfree node1
gnt-node list -F 'not offline and pinst_cnt > 10'
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Fields, names, filters."""
    shared.listing(parser, "node")


def run(arguments: argparse.Namespace) -> int:
    """Show the rows."""
    return listing.show("node", arguments)
