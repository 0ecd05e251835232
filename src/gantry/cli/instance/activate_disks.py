"""``gnt-instance activate-disks``."""

from __future__ import annotations

import argparse
import sys

from gantry.cli import jobs, table
from gantry.cli import options as shared

EXAMPLES = """
gnt-instance activate-disks web1      (shows NODE:DISK:PATH of each)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which instance."""
    parser.add_argument("name", metavar="INSTANCE")
    parser.add_argument(
        "--ignore-size", action="store_true", help="although a disk is not as large as recorded"
    )
    parser.add_argument(
        "--wait-for-sync", action="store_true", help="wait until all replicas are in sync"
    )
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it, and show where the disks are."""
    operation = {
        "OP_ID": "OP_INSTANCE_ACTIVATE_DISKS",
        "instance_name": arguments.name,
        "ignore_size": arguments.ignore_size,
        "wait_for_sync": arguments.wait_for_sync,
    }
    job, status = jobs.wait_for(arguments, [operation])
    if job is not None and arguments.json:
        jobs.write_json(jobs.summary(job))
    elif job is not None and arguments.dry_run == "no":
        for place in job["ops"][0].get("result") or ():
            sys.stdout.write(table.printable(":".join(place)) + "\n")
    return status
