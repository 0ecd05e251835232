"""``gnt-cluster version``."""

from __future__ import annotations

import argparse
import json
import sys

from gantry import __version__

EXAMPLES = """
gnt-cluster version
"""


def options(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(arguments: argparse.Namespace) -> int:
    """Show it."""
    shown = json.dumps({"version": __version__}) if arguments.json else f"Gantry {__version__}"
    sys.stdout.write(shown + "\n")
    return 0
