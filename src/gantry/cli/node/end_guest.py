"""``gnt-node end-guest``."""

from __future__ import annotations

import argparse

from gantry.cli import confirm, jobs
from gantry.cli import options as shared

EXAMPLES = """
gnt-cluster verify                     (shows guests that belong to no instance, with their uuids)
gnt-node end-guest node2 0b1f6c1e-7c0e-4c55-9d0e-6a3f0e9d2b11
gnt-node end-guest -f --shutdown-timeout=0 node2 web9.example.com
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which one, and how."""
    parser.add_argument("name", metavar="NODE")
    parser.add_argument("guest", metavar="GUEST", help="its uuid, or its whole name")
    shared.force(parser)
    shared.shutdown_timeout(parser)
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """End it; its disks stay."""
    if arguments.dry_run == "no":
        confirm.ask(
            f"This will shut down guest {arguments.guest} on node {arguments.name} for good: the"
            " cluster has no record from which it could be started again.\nContinue?",
            arguments.force,
        )
    operation = {
        "OP_ID": "OP_NODE_END_GUEST",
        "node_name": arguments.name,
        "guest": arguments.guest,
        "shutdown_timeout": arguments.shutdown_timeout,
    }
    return jobs.run(arguments, [operation])
