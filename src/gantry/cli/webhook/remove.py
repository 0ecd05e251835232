"""``gnt-hook webhook-remove``."""

from __future__ import annotations

import argparse

from gantry.cli import jobs
from gantry.cli import options as shared

EXAMPLES = """
gnt-hook webhook-remove chat
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which one."""
    parser.add_argument("name", metavar="NAME")
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    return jobs.run(arguments, [{"OP_ID": "OP_WEBHOOK_REMOVE", "name": arguments.name}])
