"""``gnt-hook diff``."""

from __future__ import annotations

import argparse

from gantry.cli.bundle import difference
from gantry.cli.bundle.kind import HOOKS

EXAMPLES = """
gnt-hook diff ./hooks
gnt-hook diff ./hooks --node node2
gnt-hook diff ./hooks --json
"""


def options(parser: argparse.ArgumentParser) -> None:
    """What to compare with what."""
    parser.add_argument("directory", metavar="DIR", help="as for gnt-hook push")
    parser.add_argument("-n", "--node", metavar="NODE", help="only with this node")


def run(arguments: argparse.Namespace) -> int:
    """What a push would change: + comes, - goes, ! changes, ? is in the way; status 1 if any."""
    return difference.show(arguments, HOOKS)
