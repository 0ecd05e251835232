"""``gnt-os list``."""

from __future__ import annotations

import argparse
import json
import sys

from gantry.cli import ganeti_options
from gantry.client.connection import Connection

EXAMPLES = """
gnt-os list
gnt-os list --json
"""


def options(parser: argparse.ArgumentParser) -> None:
    """How to show them."""
    parser.add_argument("--no-headers", action="store_true", help="leave the title out")
    ganeti_options.without_effect(parser, "--priority", value=True)


def run(arguments: argparse.Namespace) -> int:
    """One line for each name that ``gnt-instance add -o`` takes."""
    found = Connection().get("os")
    names = [name for one in found for name in one["listed_names"]]
    if arguments.json:
        sys.stdout.write(json.dumps([{"name": name} for name in names]) + "\n")
        return 0
    titles = [] if arguments.no_headers else ["Name"]
    sys.stdout.write("".join(f"{line}\n" for line in [*titles, *names]))
    invalid = sorted(one["name"] for one in found if not one["valid"])
    if invalid:
        sys.stderr.write(
            f"not valid on all nodes: {', '.join(invalid)} (gnt-os diagnose says why)\n"
        )
    return 0
