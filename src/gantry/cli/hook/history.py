"""``gnt-hook history``."""

from __future__ import annotations

import argparse

from gantry.cli import options as shared
from gantry.cli import rows
from gantry.cli.hook import moments

EXAMPLES = """
gnt-hook history
gnt-hook history --instance web1
gnt-hook history --failed --since 1d
gnt-hook history --script 20-check --node node2 --limit 10
gnt-hook history --job 17 --json
gnt-hook history --operation instance-start --phase pre --since 2026-11-20
"""
_SHOWN = (
    "run",
    "started",
    "object",
    "operation",
    "phase",
    "node",
    "script",
    "result",
    "duration",
    "cause",
)
_CHOICES = (
    "instance",
    "node",
    "operation",
    "script",
    "phase",
    "job",
    "failed",
    "since",
    "limit",
)


def options(parser: argparse.ArgumentParser) -> None:
    """Which runs, and how to show them."""
    parser.add_argument("--instance", metavar="NAME", help="only those about this instance")
    parser.add_argument("-n", "--node", metavar="NODE", help="only those on this node")
    parser.add_argument(
        "--operation", metavar="OP", help="only those of this operation, such as instance-add"
    )
    parser.add_argument(
        "--script", metavar="NAME", help="only those of this script: NAME or DIRECTORY/NAME"
    )
    parser.add_argument("--phase", metavar="PHASE", help="only those of this phase: pre, post, …")
    parser.add_argument(
        "--job", type=shared.job_number, metavar="ID", help="only those of this job"
    )
    parser.add_argument("--failed", action="store_const", const="1", help="only those that failed")
    parser.add_argument(
        "--since",
        type=moments.since,
        metavar="WHEN",
        help="only those that began since: an age such as 2h or 7d, or 2026-11-20 (and 14:30)",
    )
    parser.add_argument(
        "--limit",
        type=shared.whole_number,
        default=100,
        metavar="N",
        help="at most so many (100)",
    )
    rows.options(parser)


def run(arguments: argparse.Namespace) -> int:
    """A line for each run."""
    return rows.show("hooks/runs", arguments, *_CHOICES, columns=_SHOWN)
