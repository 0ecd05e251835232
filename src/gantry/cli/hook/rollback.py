"""``gnt-hook rollback``."""

from __future__ import annotations

import argparse

from gantry.cli import jobs
from gantry.cli import options as shared

EXAMPLES = """
gnt-hook rollback                 (to the bundle before, on all nodes)
gnt-hook rollback --to 3
gnt-hook rollback --node node2
gnt-hook rollback --to 0          (no bundle; scripts put there by hand stay)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """To which, and where."""
    parser.add_argument(
        "--to", type=shared.whole_number, metavar="N", help="the bundle's number (the one before)"
    )
    parser.add_argument(
        "-n",
        "--node",
        action="append",
        default=[],
        metavar="NODE",
        help="only on this node; may be given several times",
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="set aside files that were put there by hand and have the name of one in the bundle",
    )
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    operation = {
        "OP_ID": "OP_HOOK_PUSH",
        "bundle": arguments.to,
        "node_names": arguments.node,
        "replace": arguments.replace,
    }
    return jobs.run(arguments, [operation])
