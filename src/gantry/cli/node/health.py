"""``gnt-node health``."""

from __future__ import annotations

import argparse
from typing import Any

from gantry.cli import options as shared
from gantry.cli import power

EXAMPLES = """
gnt-node health
gnt-node health node3
gnt-node health --json node3
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which nodes."""
    parser.add_argument("names", nargs="*", metavar="NODE", help="default: all")
    power.options(parser)
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask, and show."""
    operation = {
        "OP_ID": "OP_OOB_COMMAND",
        "command": "health",
        "node_names": arguments.names,
        "timeout": arguments.oob_timeout,
    }
    return power.show(arguments, operation, _items)


def _items(data: list[list[Any]]) -> str:
    return ", ".join(f"{item}={how}" for item, how in data) or "nothing to say"
