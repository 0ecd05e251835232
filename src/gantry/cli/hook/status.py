"""``gnt-hook status``."""

from __future__ import annotations

import argparse

from gantry.cli.bundle import standing
from gantry.cli.bundle.kind import HOOKS

EXAMPLES = """
gnt-hook status
gnt-hook status --node node2
gnt-hook status --json
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which nodes, and how to show them."""
    standing.options(parser)


def run(arguments: argparse.Namespace) -> int:
    """A line a node, asked now: what it is to have, what it has, what differs, what is local."""
    return standing.show(arguments, HOOKS)
