"""``gnt-debug delay``."""

from __future__ import annotations

import argparse

from gantry.cli import jobs
from gantry.cli import options as shared

EXAMPLES = """
gnt-debug delay 10
gnt-debug delay -n node2 --no-master --submit 60
"""


def options(parser: argparse.ArgumentParser) -> None:
    """How long, and where."""
    parser.add_argument("duration", type=float, metavar="SECONDS", help="how long")
    parser.add_argument("--no-master", action="store_true", help="not on the master")
    shared.nodes(parser, "also there; can be given several times")
    parser.add_argument(
        "-r",
        "--repeat",
        type=shared.whole_number,
        default=0,
        metavar="TIMES",
        help="that many times more",
    )
    parser.add_argument("-i", "--interruptible", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-l", "--no-locks", action="store_true", help="take no locks")
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    operation = {
        "OP_ID": "OP_TEST_DELAY",
        "duration": arguments.duration,
        "on_master": not arguments.no_master,
        "on_nodes": arguments.node,
        "repeat": arguments.repeat,
        "no_locks": arguments.no_locks,
    }
    return jobs.run(arguments, [operation])
