"""``gnt-… remove-tags``."""

from __future__ import annotations

import argparse

from gantry.cli import jobs
from gantry.cli.tags import target

EXAMPLES = """
gnt-instance remove-tags web1 env:prod tier:1
gnt-instance remove-tags --from tags.txt web1
gnt-node remove-tags node2 rack:7
gnt-group remove-tags default site:berlin
gnt-cluster remove-tags site:berlin
"""

options = target.options


def run(arguments: argparse.Namespace) -> int:
    """Remove them."""
    return jobs.run(arguments, [target.operation("OP_TAGS_DEL", arguments)])
