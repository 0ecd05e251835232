"""``gnt-instance list``."""

from __future__ import annotations

import argparse

from gantry.cli import listing
from gantry.cli import options as shared

EXAMPLES = """
gnt-instance list
gnt-instance list -o name,status,pnode web1 'db*'
gnt-instance list -o +tags,be/maxmem
gnt-instance list -F 'status == "running" and "env:prod" in tags'
gnt-instance list --json
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Fields, names, filters."""
    shared.listing(parser, "instance")


def run(arguments: argparse.Namespace) -> int:
    """Show the rows."""
    return listing.show("instance", arguments)
