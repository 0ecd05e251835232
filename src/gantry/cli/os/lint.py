"""``gnt-os lint``."""

from __future__ import annotations

import argparse

from gantry.cli import findings

EXAMPLES = """
gnt-os lint ./debian
gnt-os lint ./debian --name trixie     (as what it is to be pushed)
gnt-os lint os/* --strict
gnt-os lint ./debian --json
"""


def options(parser: argparse.ArgumentParser) -> None:
    """What to look at, and what counts."""
    parser.add_argument("directories", metavar="DIR", nargs="+", help="an OS definition each")
    parser.add_argument("--name", metavar="OS", help="the definition's name (that of DIR)")
    findings.options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Say what was found, without a cluster; 1 where there are errors."""
    import msgspec

    from gantry.cli.os import directory

    many = len(arguments.directories) > 1
    said = []
    for one in arguments.directories:
        name = directory.name(arguments, one)
        for found in msgspec.to_builtins(arguments.bench().lint(one, name)):
            above = "" if not many else one.rstrip("/") + "/"
            said.append({**found, "path": (above + found["path"]).removesuffix("/.")})
    return findings.show(arguments, {"findings": said, "nodes": [], "problems": []})
