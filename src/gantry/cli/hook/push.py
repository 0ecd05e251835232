"""``gnt-hook push``."""

from __future__ import annotations

import argparse

from gantry.cli.bundle import pushing
from gantry.cli.bundle.kind import HOOKS

EXAMPLES = """
gnt-hook push ./hooks                      (onto all nodes, also those to come)
gnt-hook push ./hooks --node node2         (first onto one)
gnt-hook push --replace ./hooks            (where files were put there by hand)
gnt-hook lint ./hooks && gnt-hook push ./hooks
gnt-hook diff ./hooks && echo nothing to push
"""


def options(parser: argparse.ArgumentParser) -> None:
    """What, and where to."""
    parser.add_argument(
        "directory", metavar="DIR", help="with directories such as instance-add-pre.d"
    )
    pushing.options(
        parser, "set aside files that were put there by hand and have the name of one in DIR"
    )
    parser.add_argument(
        "--no-lint",
        action="store_true",
        help="push it although gnt-hook lint finds errors in it",
    )


def run(arguments: argparse.Namespace) -> int:
    """Look for errors, send the bundle, then submit the job that installs it."""
    packed = pushing.packed(arguments.directory)
    if not arguments.no_lint:
        _lint(arguments)
    return pushing.submit(arguments, HOOKS, pushing.upload(HOOKS, packed))


def _lint(arguments: argparse.Namespace) -> None:
    from gantry.client.connection import Connection
    from gantry.hooks.lint import check

    version = Connection().get("info")["hooks_version"]
    findings = check(arguments.bench().inventory(arguments.directory, version), version)
    pushing.judged(arguments.directory, findings, arguments.program)
