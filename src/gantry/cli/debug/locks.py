"""``gnt-debug locks``."""

from __future__ import annotations

import argparse
import sys
import time

from gantry.cli import listing
from gantry.cli import options as shared

EXAMPLES = """
gnt-debug locks
gnt-debug locks --interval 2        (until Ctrl-C)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Fields."""
    shared.listing(parser, "lock")
    parser.add_argument(
        "--interval", type=_seconds, metavar="SECONDS", help="show them again and again"
    )


def run(arguments: argparse.Namespace) -> int:
    """Show the rows."""
    status = listing.show("lock", arguments)
    while arguments.interval is not None and not status:
        sys.stdout.write("\n")
        sys.stdout.flush()
        time.sleep(arguments.interval)
        status = listing.show("lock", arguments)
    return status


def _seconds(text: str) -> float:
    if text.isascii() and text.replace(".", "", 1).isdecimal() and 0.1 <= float(text) <= 86400:
        return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0.1 to 86400")
