"""``gnt-instance failover``."""

from __future__ import annotations

import argparse

from gantry.cli import confirm, fence, ganeti_options, jobs
from gantry.cli import options as shared
from gantry.cli.errors import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXAMPLES = """
gnt-instance failover web1                        (to the node with the most free memory)
gnt-instance failover -n node3 web1
gnt-node modify --offline=yes node2               (its node is dead, and certainly powered off)
gnt-instance failover -f web1                     (now this is possible)
gnt-instance failover --fence web1                (takes a silent node's power first)
gnt-instance failover --cleanup web1              (move nothing: write down where it runs)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which one, where to, and how."""
    parser.add_argument("name", metavar="INSTANCE")
    shared.force(parser)
    shared.target_node(parser)
    shared.shutdown_timeout(parser)
    fence.option(parser)
    parser.add_argument(
        "--ignore-consistency",
        action="store_true",
        help="of mirrored disks: also to a copy that is not up to date, which loses data",
    )
    parser.add_argument(
        "--cleanup",
        action="store_true",
        help="move nothing: put into the record on which node it runs",
    )
    ganeti_options.without_effect(parser, "--ignore-ipolicy")
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask, for the guest is stopped; then do it."""
    if arguments.fence and (arguments.cleanup or arguments.dry_run != "no"):
        raise Usage("--fence goes with neither --cleanup nor --dry-run")
    node = fence.node_of(arguments.name) if arguments.fence else None
    if arguments.dry_run == "no" and not arguments.cleanup:
        question = (
            f"Instance {arguments.name} will be shut down and started on another node.\nContinue?"
        )
        confirm.ask(fence.warning(node) + question, arguments.force)
    operation: dict[str, Any] = {
        "OP_ID": "OP_INSTANCE_FAILOVER",
        "instance_name": arguments.name,
        "ignore_consistency": arguments.ignore_consistency,
        "shutdown_timeout": arguments.shutdown_timeout,
        "cleanup": arguments.cleanup,
        **shared.given(arguments, "target_node", "iallocator"),
    }
    return jobs.run(arguments, [*fence.operations(node), operation])
