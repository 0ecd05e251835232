"""``gnt-instance remove``."""

from __future__ import annotations

import argparse

from gantry.cli import confirm, jobs
from gantry.cli import options as shared

EXAMPLES = """
gnt-instance remove web1
gnt-instance remove -f --shutdown-timeout=0 web1
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which one, and how."""
    parser.add_argument("name", metavar="INSTANCE")
    shared.force(parser)
    shared.shutdown_timeout(parser)
    parser.add_argument(
        "--ignore-failures", action="store_true", help="remove it even if it cannot be stopped"
    )
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Remove it."""
    if arguments.dry_run == "no":
        confirm.ask(
            f"This will remove the volumes of the instance {arguments.name}: all of its data.\n"
            "Continue?",
            arguments.force,
        )
    operation = {
        "OP_ID": "OP_INSTANCE_REMOVE",
        "instance_name": arguments.name,
        "shutdown_timeout": arguments.shutdown_timeout,
        "ignore_failures": arguments.ignore_failures,
    }
    return jobs.run(arguments, [operation])
