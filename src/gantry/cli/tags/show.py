"""``gnt-… list-tags``."""

from __future__ import annotations

import argparse
import json
import sys

from gantry.cli.tags import target
from gantry.client.connection import Connection, quoted

EXAMPLES = """
gnt-instance list-tags web1
gnt-node list-tags node2
gnt-group list-tags default
gnt-cluster list-tags
"""


def options(parser: argparse.ArgumentParser) -> None:
    """The object (not for the cluster)."""
    parser.add_argument("words", nargs="*", metavar="NAME", help="none where the cluster is meant")


def run(arguments: argparse.Namespace) -> int:
    """One a line."""
    kind, name, _ = target.split(arguments, False)
    tags = Connection().get(f"tags/{kind}/{quoted(name)}" if name else f"tags/{kind}")["tags"]
    sys.stdout.write(json.dumps(tags) + "\n" if arguments.json else "".join(f"{t}\n" for t in tags))
    return 0
