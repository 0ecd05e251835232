"""``gnt-instance add-mirror``."""

from __future__ import annotations

import argparse

from gantry.cli import jobs
from gantry.cli import options as shared

EXAMPLES = """
gnt-instance add-mirror -b sda -n node3 web1      (a further replica of its first disk)
gnt-instance add-mirror -b 1 -n node3 web1        (of its second one)
gnt-instance info web1                            (how far the copy is)
gnt-instance remove-mirror -b sda -p 1 web1       (and the old one goes, once it is in sync)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which disk, and where to."""
    parser.add_argument("name", metavar="INSTANCE", help="its disks are of template mirror")
    parser.add_argument(
        "-b", "--disk", required=True, metavar="DISK", help="its number, or sda, sdb, …"
    )
    parser.add_argument("-n", "--node", required=True, metavar="NODE", help="has no replica of it")
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    operation = {
        "OP_ID": "OP_INSTANCE_ADD_MDDRBD",
        "instance_name": arguments.name,
        "disk_name": arguments.disk,
        "remote_node": arguments.node,
    }
    return jobs.run(arguments, [operation])
