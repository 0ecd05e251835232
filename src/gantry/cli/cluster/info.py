"""``gnt-cluster info``."""

from __future__ import annotations

import argparse
import json
import sys

from gantry.cli import ganeti_options, table
from gantry.client.connection import Connection

EXAMPLES = """
gnt-cluster info
gnt-cluster info --json
"""


def options(parser: argparse.ArgumentParser) -> None:
    """None of its own."""
    ganeti_options.without_effect(parser, "--roman")


def run(arguments: argparse.Namespace) -> int:
    """Show it."""
    found = Connection().get("info")
    text = json.dumps(found, indent=1) + "\n" if arguments.json else table.document(found)
    sys.stdout.write(text)
    return 0
