"""``gnt-backup remove``."""

from __future__ import annotations

import argparse

from gantry.cli import jobs
from gantry.cli import options as shared

EXAMPLES = """
gnt-backup remove web1.example.com
gnt-backup remove --point 1 web1.example.com     (the others stay what they are)
gnt-backup remove --submit web1.example.com
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Whose."""
    parser.add_argument(
        "name", metavar="INSTANCE", help="whose export; the whole name, if it exists no more"
    )
    parser.add_argument(
        "--point",
        type=int,
        metavar="N",
        help="only this point of an incremental export; see gnt-backup list --points",
    )
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    operation = {"OP_ID": "OP_BACKUP_REMOVE", "instance_name": arguments.name}
    operation |= shared.given(arguments, "point")
    return jobs.run(arguments, [operation])
