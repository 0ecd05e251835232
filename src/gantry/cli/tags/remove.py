"""``gnt-… remove-tags``."""

from __future__ import annotations

import argparse

from gantry.cli import jobs
from gantry.cli import options as shared
from gantry.cli.tags import target

EXAMPLES = """
gnt-instance remove-tags web1 env:prod tier:1
gnt-cluster remove-tags site:berlin
"""


def options(parser: argparse.ArgumentParser) -> None:
    """The object (not for the cluster) and the tags."""
    parser.add_argument("words", nargs="*", metavar="[NAME] TAG…")
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Remove them."""
    return jobs.run(arguments, [target.operation("OP_TAGS_DEL", arguments)])
