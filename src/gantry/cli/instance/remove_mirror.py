"""``gnt-instance remove-mirror``."""

from __future__ import annotations

import argparse

from gantry.cli import confirm, jobs
from gantry.cli import options as shared

EXAMPLES = """
gnt-instance info web1                            (shows the numbers of the replicas)
gnt-instance remove-mirror -b sda -p 1 web1
gnt-instance remove-mirror -f -b 0 -p 1 web1      (without asking; also the last one in sync)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which disk, and which replica of it."""
    parser.add_argument("name", metavar="INSTANCE")
    parser.add_argument(
        "-b", "--disk", required=True, metavar="DISK", help="its number, or sda, sdb, …"
    )
    parser.add_argument(
        "-p",
        "--disk-id",
        required=True,
        type=int,
        metavar="DISK_ID",
        help="the number of the replica, as gnt-instance info shows it",
    )
    shared.force(parser, "do not ask; also the last one in sync while another is being made")
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask, for the replica is removed; then do it."""
    if arguments.dry_run == "no":
        confirm.ask(
            f"Replica {arguments.disk_id} of disk {arguments.disk} of {arguments.name} will be "
            "removed.\nContinue?",
            arguments.force,
        )
    operation = {
        "OP_ID": "OP_INSTANCE_REMOVE_MDDRBD",
        "instance_name": arguments.name,
        "disk_name": arguments.disk,
        "disk_id": arguments.disk_id,
        "force": arguments.force,
    }
    return jobs.run(arguments, [operation])
