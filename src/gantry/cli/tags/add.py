"""``gnt-… add-tags``."""

from __future__ import annotations

import argparse

from gantry.cli import jobs
from gantry.cli.tags import target

EXAMPLES = """
gnt-instance add-tags web1 env:prod tier:1
gnt-instance add-tags --from tags.txt web1
gnt-node add-tags node2 rack:7
gnt-group add-tags default site:berlin
gnt-cluster add-tags site:berlin
"""

options = target.options


def run(arguments: argparse.Namespace) -> int:
    """Add them."""
    return jobs.run(arguments, [target.operation("OP_TAGS_SET", arguments)])
