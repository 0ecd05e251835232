"""``gnt-job change-priority``."""

from __future__ import annotations

import argparse

from gantry.cli import errors
from gantry.cli import options as shared
from gantry.cli.job import choice
from gantry.client.connection import Connection
from gantry.client.errors import ApiError

EXAMPLES = """
gnt-job change-priority --priority=high 7
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which ones, and to what."""
    choice.options(parser)
    parser.add_argument("--priority", choices=shared.PRIORITIES, required=True)


def run(arguments: argparse.Namespace) -> int:
    """Change them, each on its own."""
    connection, worst = Connection(), 0
    body = {"priority": shared.PRIORITIES[arguments.priority]}
    for number in choice.select(arguments, "Change the priority of"):
        try:
            connection.post(f"jobs/{number}/priority", body)
        except ApiError as error:
            worst = errors.report(error, arguments.json)
    return worst
