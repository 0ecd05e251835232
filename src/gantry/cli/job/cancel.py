"""``gnt-job cancel``."""

from __future__ import annotations

import argparse

from gantry.cli.job import choice

EXAMPLES = """
gnt-job cancel 7
gnt-job cancel --kill 7       (a running one: what it did is undone)
gnt-job cancel --pending
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which ones."""
    choice.options(parser)
    parser.add_argument("--kill", action="store_true", help="running jobs too")
    parser.add_argument("--yes-do-it", "--ya-rly", action="store_true", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Cancel them, each on its own."""
    return choice.each(
        arguments,
        "Cancel",
        lambda connection, number: connection.post(
            f"jobs/{number}/cancel", {"kill": arguments.kill}
        )["message"],
    )
