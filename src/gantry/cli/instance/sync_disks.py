"""``gnt-instance sync-disks``."""

from __future__ import annotations

import argparse

from gantry.cli import jobs
from gantry.cli import options as shared

EXAMPLES = """
gnt-instance sync-disks web1      (mirror to what has fallen behind; happens by itself, too)
gnt-instance info web1            (how far the copies are)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which one."""
    parser.add_argument("name", metavar="INSTANCE", help="it runs, with disks of template mirror")
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    operation = {"OP_ID": "OP_INSTANCE_SYNC_DISKS", "instance_name": arguments.name}
    return jobs.run(arguments, [operation])
