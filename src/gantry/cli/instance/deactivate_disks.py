"""``gnt-instance deactivate-disks``."""

from __future__ import annotations

import argparse

from gantry.cli import jobs
from gantry.cli import options as shared

EXAMPLES = """
gnt-instance deactivate-disks web1
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which instance."""
    parser.add_argument("name", metavar="INSTANCE")
    shared.force(parser, "although the instance may be running")
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    operation = {
        "OP_ID": "OP_INSTANCE_DEACTIVATE_DISKS",
        "instance_name": arguments.name,
        "force": arguments.force,
    }
    return jobs.run(arguments, [operation])
