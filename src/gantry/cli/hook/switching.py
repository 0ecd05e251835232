"""What ``disable`` and ``enable`` share."""

from __future__ import annotations

import argparse

from gantry.cli import jobs
from gantry.cli import options as shared


def options(parser: argparse.ArgumentParser) -> None:
    """Of both."""
    parser.add_argument(
        "scripts",
        nargs="+",
        metavar="SCRIPT",
        help="a name, meant in all directories, or DIRECTORY/NAME",
    )
    shared.nodes(parser, "only on this node; may be given several times (all)")
    shared.job(parser)


def run(arguments: argparse.Namespace, *, enabled: bool) -> int:
    """Submit the job."""
    operation = {
        "OP_ID": "OP_HOOK_SWITCH",
        "scripts": arguments.scripts,
        "enabled": enabled,
        "node_names": arguments.node,
        "because": arguments.reason or "",
    }
    return jobs.run(arguments, [operation])
