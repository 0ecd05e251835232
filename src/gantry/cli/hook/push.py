"""``gnt-hook push``."""

from __future__ import annotations

import argparse

from gantry.cli import jobs
from gantry.cli import options as shared
from gantry.client.connection import Connection

EXAMPLES = """
gnt-hook push ./hooks                      (onto all nodes, also those to come)
gnt-hook push ./hooks --node node2         (first onto one)
gnt-hook push --replace ./hooks            (where files were put there by hand)
gnt-hook lint ./hooks && gnt-hook push ./hooks
gnt-hook diff ./hooks && echo nothing to push
"""
_SHOWN = 3
"""Errors in a message; the rest is counted."""


def options(parser: argparse.ArgumentParser) -> None:
    """What, and where to."""
    parser.add_argument(
        "directory", metavar="DIR", help="with directories such as instance-add-pre.d"
    )
    parser.add_argument(
        "-n",
        "--node",
        action="append",
        default=[],
        metavar="NODE",
        help="only onto this node; may be given several times",
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="set aside files that were put there by hand and have the name of one in DIR",
    )
    parser.add_argument(
        "--no-lint",
        action="store_true",
        help="push it although gnt-hook lint finds errors in it",
    )
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Look for errors, send the bundle, then submit the job that installs it."""
    import base64

    from gantry.cli.errors import Usage
    from gantry.cli.hook import directory
    from gantry.model import bundles
    from gantry.model.errors import Rejected

    try:
        packed = bundles.pack(directory.read(arguments.directory))
    except Rejected as error:
        raise Usage(f"{arguments.directory}: {error.message}", error.hint) from None
    if not arguments.no_lint:
        _lint(arguments)
    body = {"packed": base64.b64encode(packed).decode()}
    number = Connection().post("hooks/bundles", body)["number"]
    operation = {
        "OP_ID": "OP_HOOK_PUSH",
        "bundle": number,
        "node_names": arguments.node,
        "replace": arguments.replace,
    }
    return jobs.run(arguments, [operation])


def _lint(arguments: argparse.Namespace) -> None:
    """Usage where there is an error, with the first of them; warnings are told and go along."""
    import sys

    from gantry.cli.errors import Usage
    from gantry.hooks.lint import check

    version = Connection().get("info")["hooks_version"]
    findings = check(arguments.bench().inventory(arguments.directory, version), version)
    bad = [f"{one.path}: {one.message}" for one in findings if one.level == "error"]
    if bad:
        more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise Usage(
            f"{arguments.directory} is not pushed: {'; '.join(bad[:_SHOWN])}{more}",
            "gnt-hook lint DIR says what to do about each; --no-lint pushes it all the same",
        )
    for one in findings:
        sys.stderr.write(f"warning: {one.path}: {one.message}\n")
