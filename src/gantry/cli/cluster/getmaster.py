"""``gnt-cluster getmaster``."""

from __future__ import annotations

import argparse
import json
import sys

from gantry.client import paths

EXAMPLES = """
gnt-cluster getmaster
"""


def options(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(arguments: argparse.Namespace) -> int:
    """Show it; works on any node, also while the master is down."""
    name = paths.master_name(paths.root_of(None))
    sys.stdout.write((json.dumps({"master": name}) if arguments.json else name) + "\n")
    return 0
