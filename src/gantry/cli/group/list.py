"""``gnt-group list``."""

from __future__ import annotations

import argparse

from gantry.cli import listing
from gantry.cli import options as shared

EXAMPLES = """
gnt-group list
gnt-group list -o name,node_cnt,alloc_policy
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Fields, names, filters."""
    shared.listing(parser, "group")


def run(arguments: argparse.Namespace) -> int:
    """Show the rows."""
    return listing.show("group", arguments)
