"""``gnt-os diff``."""

from __future__ import annotations

import argparse

from gantry.cli.bundle import difference
from gantry.cli.bundle.kind import definition

EXAMPLES = """
gnt-os diff ./debian
gnt-os diff ./debian --node node2 --json
gnt-os diff ./debian-draft --name debian
"""


def options(parser: argparse.ArgumentParser) -> None:
    """What to compare with what."""
    parser.add_argument("directory", metavar="DIR", help="as for gnt-os push")
    parser.add_argument("--name", metavar="OS", help="the definition's name (that of DIR)")
    parser.add_argument("-n", "--node", metavar="NODE", help="only with this node")


def run(arguments: argparse.Namespace) -> int:
    """What a push would change: + comes, - goes, ! changes, ? is in the way; status 1 if any."""
    from gantry.cli.os import directory

    name = directory.name(arguments, arguments.directory)
    return difference.show(arguments, definition(name))
