"""``gnt-instance recreate-disks``."""

from __future__ import annotations

import argparse
from typing import Any

from gantry.cli import ganeti_options, jobs, values
from gantry.cli import options as shared

EXAMPLES = """
gnt-instance recreate-disks web1                    (those that are lost; the others stay)
gnt-instance recreate-disks --disk 1:size=20G web1
gnt-instance recreate-disks -n node3 web1           (all, on another node: the old one is dead)
gnt-instance reinstall web1                         (for what was made is empty)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which disks, how they are to be, and where."""
    parser.add_argument("name", metavar="INSTANCE")
    parser.add_argument(
        "--disk",
        action="append",
        default=[],
        metavar="N[:size=SIZE,mode=rw|ro]",
        help="only this disk; can be given several times",
    )
    parser.add_argument(
        "-n", "--node", metavar="NODE", help="make all of them there; the instance comes to it"
    )
    ganeti_options.no_iallocator(parser)
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    operation: dict[str, Any] = {
        "OP_ID": "OP_INSTANCE_RECREATE_DISKS",
        "instance_name": arguments.name,
        "disks": values.disks_anew(arguments.disk),
        "nodes": [arguments.node] if arguments.node else [],
        **shared.given(arguments, "iallocator"),
    }
    return jobs.run(arguments, [operation])
