"""``gnt-node failover``."""

from __future__ import annotations

import argparse
import sys

from gantry.cli import confirm, fence, ganeti_options, selection
from gantry.cli import options as shared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXAMPLES = """
gnt-node modify --offline=yes node2               (it is dead, and certainly powered off)
gnt-node failover -f node2
gnt-node failover --fence node2                   (both, where a program switches its power)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which node, and how."""
    parser.add_argument("name", metavar="NODE", help="its instances are failed over, each by a job")
    shared.force(parser)
    fence.option(parser)
    shared.shutdown_timeout(parser)
    parser.add_argument(
        "--ignore-consistency",
        action="store_true",
        help="of mirrored disks: also to a copy that is not up to date, which loses data",
    )
    ganeti_options.no_iallocator(parser)
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask, then do it."""
    names = selection.of_node(arguments.name)
    if not names:
        sys.stderr.write(f"node {arguments.name} has no instances\n")
        return 0
    node = fence.first(arguments)
    if arguments.dry_run == "no":
        confirm.ask(
            f"{fence.warning(node)}{len(names)} instances of node {arguments.name} will be stopped "
            "and started on other nodes.\nContinue?",
            arguments.force,
        )

    def operation(name: str) -> dict[str, Any]:
        return {
            "OP_ID": "OP_INSTANCE_FAILOVER",
            "instance_name": name,
            "ignore_consistency": arguments.ignore_consistency,
            "shutdown_timeout": arguments.shutdown_timeout,
            **shared.given(arguments, "iallocator"),
        }

    status = fence.taken(arguments, node)
    return status or selection.each(arguments, names, operation)
