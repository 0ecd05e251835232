"""``gnt-instance list-fields``."""

from __future__ import annotations

import argparse

from gantry.cli import listing

EXAMPLES = """
gnt-instance list-fields
"""

options = listing.fields_options


def run(arguments: argparse.Namespace) -> int:
    """Show the fields."""
    return listing.show_fields("instance", arguments)
