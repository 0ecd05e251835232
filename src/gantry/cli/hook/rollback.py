"""``gnt-hook rollback``."""

from __future__ import annotations

import argparse

from gantry.cli.bundle import pushing
from gantry.cli.bundle.kind import HOOKS

EXAMPLES = """
gnt-hook rollback                 (to the bundle before, on all nodes)
gnt-hook rollback --to 3
gnt-hook rollback --node node2
gnt-hook rollback --to 0          (no bundle; scripts put there by hand stay)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """To which, and where."""
    pushing.to(parser)
    pushing.options(
        parser, "set aside files that were put there by hand and have the name of one in the bundle"
    )


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    return pushing.roll_back(arguments, HOOKS)
