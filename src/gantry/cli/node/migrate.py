"""``gnt-node migrate``."""

from __future__ import annotations

import argparse

from gantry.cli import confirm, ganeti_options
from gantry.cli import options as shared
from gantry.cli.node import emptying

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXAMPLES = """
gnt-node modify --drained=yes node2               (nothing new comes to it)
gnt-node migrate -f node2
gnt-node migrate -f -n node3 node2                (all to one node)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which node, where to, and how."""
    parser.add_argument("name", metavar="NODE", help="its instances are migrated, each by a job")
    shared.force(parser)
    shared.target_node(parser)
    shared.migration(parser)
    ganeti_options.without_effect(parser, "--ignore-ipolicy", "--no-runtime-changes")
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask, then do it."""
    if arguments.dry_run == "no":
        confirm.ask(
            f"All instances of node {arguments.name} will be brought to other nodes.\nContinue?",
            arguments.force,
        )
    operation: dict[str, Any] = {
        "OP_ID": "OP_NODE_MIGRATE",
        "node_name": arguments.name,
        **shared.migrating(arguments),
        **shared.given(arguments, "target_node", "iallocator"),
    }
    return emptying.run(arguments, operation)
