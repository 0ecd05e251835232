"""``gnt-hook webhook-test``."""

from __future__ import annotations

import argparse
import sys

from gantry.cli import table
from gantry.client.connection import Connection

EXAMPLES = """
gnt-hook webhook-test chat
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which one."""
    parser.add_argument("name", metavar="NAME")


def run(arguments: argparse.Namespace) -> int:
    """Send an event called test, once; status 1 where it was not taken."""
    import json
    from urllib.parse import quote

    found = Connection().post(f"webhooks/{quote(arguments.name, safe='')}/test", {})
    if arguments.json:
        sys.stdout.write(json.dumps(found) + "\n")
    elif found["delivered"]:
        sys.stdout.write(f"{arguments.name} took the event\n")
    else:
        sys.stderr.write(f"{arguments.name} did not: {table.printable(found['problem'])}\n")
    return 0 if found["delivered"] else 1
