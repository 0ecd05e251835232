"""``gnt-os rollback``."""

from __future__ import annotations

import argparse

from gantry.cli.bundle import pushing
from gantry.cli.bundle.kind import definition

EXAMPLES = """
gnt-os rollback debian                 (to the version before, on all nodes)
gnt-os rollback debian --to 3
gnt-os rollback debian --node node2
gnt-os rollback debian --to 0          (away with it; what was put there by hand stays)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Of which, to which, and where."""
    parser.add_argument("name", metavar="OS", help="a definition that was pushed")
    pushing.to(parser)
    pushing.options(parser, "set aside a definition of that name that was put there by hand")


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    return pushing.roll_back(arguments, definition(arguments.name))
