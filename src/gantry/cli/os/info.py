"""``gnt-os info``."""

from __future__ import annotations

import argparse
import json
import sys

from gantry.cli import ganeti_options, table
from gantry.cli.errors import Usage
from gantry.client.connection import Connection

EXAMPLES = """
gnt-os info
gnt-os info busybox
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which ones."""
    parser.add_argument("names", nargs="*", metavar="OS", help="default: all")
    ganeti_options.without_effect(parser, "--priority", value=True)


def run(arguments: argparse.Namespace) -> int:
    """Show variants, parameters and API versions."""
    found = {one["name"]: one for one in Connection().get("os")}
    missing = [name for name in arguments.names if name not in found]
    if missing:
        raise Usage(f"there is no OS definition {', '.join(missing)}", "see gnt-os diagnose")
    chosen = [found[name] for name in arguments.names or found]
    if arguments.json:
        sys.stdout.write(json.dumps(chosen, indent=1) + "\n")
        return 0
    names = (
        "valid",
        "variants",
        "parameters",
        "api_versions",
        "trusted",
        "os_hvp",
        "osparams",
        "osparams_private",
    )
    for one in chosen:
        body = {name: one[name] for name in names if name in one}
        body["parameters"] = dict(one["parameters"])
        sys.stdout.write(f"{one['name']}:\n" + table.document(body, 1) + "\n")
    return 0
