"""``gnt-node remove``."""

from __future__ import annotations

import argparse

from gantry.cli import jobs
from gantry.cli import options as shared

EXAMPLES = """
gnt-node remove node4.example.com
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which one."""
    parser.add_argument("name", metavar="NODE")
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    return jobs.run(arguments, [{"OP_ID": "OP_NODE_REMOVE", "node_name": arguments.name}])
