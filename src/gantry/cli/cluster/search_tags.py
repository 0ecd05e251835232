"""``gnt-cluster search-tags``."""

from __future__ import annotations

import argparse
import json
import re
import sys

from gantry.cli import ganeti_options
from gantry.cli.errors import Usage
from gantry.client.connection import Connection

EXAMPLES = """
gnt-cluster search-tags env:prod
gnt-cluster search-tags '^(env|tier):'
"""


def options(parser: argparse.ArgumentParser) -> None:
    """What to look for."""
    parser.add_argument("pattern", metavar="PATTERN", help="a regular expression, found anywhere")
    ganeti_options.without_effect(parser, "--priority", value=True)


def run(arguments: argparse.Namespace) -> int:
    """One line for each: where the tag is (/cluster, /nodes/NAME, …), and the tag."""
    try:
        pattern = re.compile(arguments.pattern)
    except re.error as error:
        raise Usage(f"{arguments.pattern!r} is no regular expression: {error}") from None
    found = [one for one in Connection().get("tags")["tags"] if pattern.search(one["tag"])]
    if arguments.json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        sys.stdout.write("".join(f"{one['path']} {one['tag']}\n" for one in found))
    return 0
