"""``gnt-job change-priority``."""

from __future__ import annotations

import argparse

from gantry.cli import options as shared
from gantry.cli.job import choice
from gantry.client.connection import Connection

EXAMPLES = """
gnt-job change-priority --priority=high 7
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which ones, and to what."""
    choice.options(parser)
    parser.add_argument("--priority", choices=shared.PRIORITIES, required=True)


def run(arguments: argparse.Namespace) -> int:
    """Change them, each on its own."""
    body = {"priority": shared.PRIORITIES[arguments.priority]}

    def change(connection: Connection, number: int) -> str:
        connection.post(f"jobs/{number}/priority", body)
        return f"the priority of job {number} is {arguments.priority}"

    return choice.each(arguments, "Change the priority of", change)
