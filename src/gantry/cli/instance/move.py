"""``gnt-instance move``."""

from __future__ import annotations

import argparse

from gantry.cli import confirm, ganeti_options, jobs
from gantry.cli import options as shared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXAMPLES = """
gnt-instance move -n node3 web1
gnt-instance move -f -n node3 --compress=zstd web1        (over a slow network)
gnt-instance migrate -n node3 web1                        (the same while it runs)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which one, where to, and how."""
    parser.add_argument("name", metavar="INSTANCE", help="its disks are on its node alone")
    parser.add_argument("-n", "--node", metavar="NODE", required=True, help="where to")
    parser.add_argument(
        "--compress",
        metavar="KIND",
        default="none",
        help="none, gzip, gzip-fast, gzip-slow, lzop or zstd (none: holes are left out)",
    )
    shared.force(parser)
    shared.shutdown_timeout(parser)
    ganeti_options.without_effect(parser, "--ignore-consistency", "--ignore-ipolicy")
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask, for the guest is stopped; then do it."""
    if arguments.dry_run == "no":
        confirm.ask(
            f"Instance {arguments.name} will be shut down while its disks are copied.\nContinue?",
            arguments.force,
        )
    operation: dict[str, Any] = {
        "OP_ID": "OP_INSTANCE_MOVE",
        "instance_name": arguments.name,
        "target_node": arguments.node,
        "compress": arguments.compress,
        "shutdown_timeout": arguments.shutdown_timeout,
    }
    return jobs.run(arguments, [operation])
