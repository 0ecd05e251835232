"""``gnt-os push``."""

from __future__ import annotations

import argparse

from gantry.cli.bundle import pushing
from gantry.cli.bundle.kind import definition

EXAMPLES = """
gnt-os push ./debian                       (onto all nodes, also those to come)
gnt-os push ./debian --node node2          (first onto one)
gnt-os push ./debian-draft --name debian   (under another name than the directory's)
gnt-os push --replace ./debian             (where one was put there by hand)
gnt-os lint ./debian && gnt-os push ./debian
"""


def options(parser: argparse.ArgumentParser) -> None:
    """What, and where to."""
    parser.add_argument("directory", metavar="DIR", help="one OS definition")
    parser.add_argument("--name", metavar="OS", help="the definition's name (that of DIR)")
    pushing.options(parser, "set aside a definition of that name that was put there by hand")
    parser.add_argument(
        "--no-lint",
        action="store_true",
        help="push it although gnt-os lint finds errors in it",
    )


def run(arguments: argparse.Namespace) -> int:
    """Look for errors, send the version, then submit the job that installs it."""
    from gantry.cli.errors import Usage
    from gantry.cli.os import directory
    from gantry.model import bundles
    from gantry.model.errors import Rejected

    name = directory.name(arguments, arguments.directory)
    try:
        bundles.of_os(name)
    except Rejected as error:
        raise Usage(error.message, f"{error.hint}; --name gives it another one") from None
    packed = pushing.packed(arguments.directory)
    if not arguments.no_lint:
        findings = arguments.bench().lint(arguments.directory, name)
        pushing.judged(arguments.directory, findings, arguments.program)
    kind = definition(name)
    return pushing.submit(arguments, kind, pushing.upload(kind, packed))
