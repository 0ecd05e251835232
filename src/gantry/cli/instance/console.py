"""``gnt-instance console``: the guest's serial console in this terminal."""

from __future__ import annotations

import argparse
import sys

from gantry.cli import ganeti_options
from gantry.cli.errors import Usage
from gantry.client.connection import Connection, quoted

EXAMPLES = """
gnt-instance console web1        (leave it with Ctrl-] )
gnt-instance console --show-cmd web1
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which one."""
    parser.add_argument("name", metavar="INSTANCE")
    parser.add_argument("--show-cmd", action="store_true", help="only say how to connect")
    ganeti_options.without_effect(parser, "--priority", value=True)


def run(arguments: argparse.Namespace) -> int:
    """Connect this terminal, or standard input and output, to the console."""
    connection = Connection()
    found = connection.get(f"instances/{quoted(arguments.name)}")
    name = found["name"]
    if arguments.show_cmd:
        sys.stdout.write(f"{sys.argv[0]} console {name}\n")
        return 0
    from gantry.cli import terminal

    if sys.stdin.isatty():
        sys.stderr.write(f"Connecting to {name}; leave with Ctrl-]\n")
    try:
        terminal.attach(connection, f"/gantry/1/instances/{name}/console")
    except terminal.Refused as refused:
        # The master says why to a plain request; the refusal of a WebSocket has no words.
        connection.get(f"instances/{quoted(name)}/console")
        raise Usage(f"instance {name} has no console now", "try again") from refused
    return 0
