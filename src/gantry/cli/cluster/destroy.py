"""``gnt-cluster destroy``."""

from __future__ import annotations

import argparse

from gantry.cli import jobs
from gantry.cli import options as shared
from gantry.cli.errors import Usage

EXAMPLES = """
gnt-cluster destroy --dry-run
gnt-cluster destroy --yes-do-it
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Only with the long word."""
    parser.add_argument("--yes-do-it", "--ya-rly", action="store_true", help="really")
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    if not arguments.yes_do_it and arguments.dry_run == "no":
        raise Usage("this ends the cluster", "if you are sure, give --yes-do-it")
    return jobs.run(arguments, [{"OP_ID": "OP_CLUSTER_DESTROY"}])
