"""``gnt-node evacuate``."""

from __future__ import annotations

import argparse

from gantry.cli import confirm, fence, ganeti_options
from gantry.cli import options as shared
from gantry.cli.node import emptying

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXAMPLES = """
gnt-node evacuate -f node2                        (what runs is migrated, the rest moved)
gnt-node evacuate -f -p node2                     (its instances; not copies of others' disks)
gnt-node modify --offline=yes node2               (it is dead, and certainly powered off)
gnt-node evacuate -f -p node2                     (then its instances are started elsewhere)
gnt-node evacuate --fence -p node2                (both, where a program switches its power)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which node, what of it, and where to."""
    parser.add_argument("name", metavar="NODE")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("-p", "--primary-only", action="store_true", help="only its instances")
    what.add_argument(
        "-s", "--secondary-only", action="store_true", help="only its copies of mirrored disks"
    )
    parser.add_argument(
        "-n",
        "--new-secondary",
        metavar="NODE",
        help="where all goes to (default: to each instance the node with the most free memory)",
    )
    ganeti_options.no_iallocator(parser)
    shared.force(parser)
    fence.option(parser)
    ganeti_options.without_effect(parser, "--early-release", "--ignore-soft-errors")
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask, then do it."""
    node = fence.first(arguments)
    if arguments.dry_run == "no":
        confirm.ask(
            f"{fence.warning(node)}All of node {arguments.name} will be brought to other nodes."
            "\nContinue?",
            arguments.force,
        )
    mode = "all"
    if arguments.primary_only:
        mode = "primary-only"
    elif arguments.secondary_only:
        mode = "secondary-only"
    operation: dict[str, Any] = {
        "OP_ID": "OP_NODE_EVACUATE",
        "node_name": arguments.name,
        "mode": mode,
        **shared.given(arguments, "iallocator"),
    }
    if arguments.new_secondary:
        operation["remote_node"] = arguments.new_secondary
    status = fence.taken(arguments, node)
    return status or emptying.run(arguments, operation)
