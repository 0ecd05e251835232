"""``gnt-debug locks``."""

from __future__ import annotations

import argparse

from gantry.cli import listing
from gantry.cli import options as shared

EXAMPLES = """
gnt-debug locks
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Fields."""
    shared.listing(parser, "lock")


def run(arguments: argparse.Namespace) -> int:
    """Show the rows."""
    return listing.show("lock", arguments)
