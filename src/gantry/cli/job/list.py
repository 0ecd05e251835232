"""``gnt-job list``."""

from __future__ import annotations

import argparse

from gantry.cli import listing
from gantry.cli import options as shared
from gantry.cli.errors import Usage

EXAMPLES = """
gnt-job list
gnt-job list --running
gnt-job list --error -o id,status,summary
gnt-job list --archived
gnt-job list -F 'summary =~ m/INSTANCE_/'
"""
_STATES = {
    "pending": '(status == "queued" or status == "waiting")',
    "running": '(status == "running" or status == "canceling")',
    "error": 'status == "error"',
    "finished": '(status == "success" or status == "error" or status == "canceled")',
    "archived": "archived",
}


def options(parser: argparse.ArgumentParser) -> None:
    """Fields, numbers, states."""
    shared.listing(parser, "job")
    for name in _STATES:
        parser.add_argument(f"--{name}", action="store_true", help=f"only {name} jobs")


def run(arguments: argparse.Namespace) -> int:
    """Show the rows."""
    chosen = [text for name, text in _STATES.items() if getattr(arguments, name)]
    if chosen and arguments.names and not arguments.filter:
        raise Usage("give states or jobs, not both")
    return listing.show("job", arguments, " or ".join(chosen))
