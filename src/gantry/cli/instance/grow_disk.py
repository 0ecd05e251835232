"""``gnt-instance grow-disk``."""

from __future__ import annotations

import argparse

from gantry.cli import ganeti_options, jobs
from gantry.cli import options as shared

EXAMPLES = """
gnt-instance grow-disk web1 0 10G              (10 GiB more, also while it runs)
gnt-instance grow-disk --absolute web1 0 40G   (to 40 GiB)
gnt-instance grow-disk web1 sdb 512M
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which disk, and by how much."""
    parser.add_argument("name", metavar="INSTANCE")
    parser.add_argument("disk", metavar="DISK", help="its number (from 0), sda, its name or uuid")
    parser.add_argument("amount", metavar="SIZE", help="how much is added, such as 10G")
    parser.add_argument("--absolute", action="store_true", help="the size that it is to have")
    ganeti_options.without_effect(parser, "--ignore-ipolicy", "--no-wait-for-sync")
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    operation = {
        "OP_ID": "OP_INSTANCE_GROW_DISK",
        "instance_name": arguments.name,
        "disk": arguments.disk,
        "amount": arguments.amount,
        "absolute": arguments.absolute,
    }
    return jobs.run(arguments, [operation])
