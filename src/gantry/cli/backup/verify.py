"""``gnt-backup verify``."""

from __future__ import annotations

import argparse

from gantry.cli import jobs
from gantry.cli import options as shared

EXAMPLES = """
gnt-backup export -n node2 --checksums web1
gnt-backup verify -n node2 web1     (without checksums: whether all of it can be read)
gnt-backup verify -n node2 --submit web1.example.com
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which."""
    parser.add_argument(
        "name", metavar="INSTANCE", help="whose export; the whole name, if it exists no more"
    )
    parser.add_argument("-n", "--node", required=True, metavar="NODE", help="where it is")
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    operation = {
        "OP_ID": "OP_BACKUP_VERIFY",
        "instance_name": arguments.name,
        "node_name": arguments.node,
    }
    return jobs.run(arguments, [operation])
