"""Push and roll back: what both kinds of bundle share."""

from __future__ import annotations

from gantry.cli import jobs
from gantry.cli import options as shared

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from gantry.cli.bundle.kind import Kind
    from gantry.model.findings import Finding

_SHOWN = 3
"""Errors in a message; the rest is counted."""


def options(parser: argparse.ArgumentParser, aside: str) -> None:
    """Where to; ``aside`` says what may be set aside."""
    shared.nodes(parser, "only this node; may be given several times")
    parser.add_argument("--replace", "--force", action="store_true", help=aside)
    shared.job(parser)


def to(parser: argparse.ArgumentParser) -> None:
    """Of a rollback: to which."""
    parser.add_argument("--to", type=shared.whole_number, metavar="N", help="its number")


def packed(directory: str) -> bytes:
    """The directory as a bundle; Usage where it cannot be one."""
    from gantry.cli.bundle import directory as reading
    from gantry.cli.errors import Usage
    from gantry.model import bundles
    from gantry.model.errors import Rejected

    try:
        return bundles.pack(reading.read(directory))
    except Rejected as error:
        raise Usage(f"{directory}: {error.message}", error.hint) from None


def judged(directory: str, findings: Sequence[Finding], program: str) -> None:
    """Usage where there is an error, with the first of them; warnings are told and go along."""
    import sys

    from gantry.cli.errors import Usage

    bad = [f"{one.path}: {one.message}" for one in findings if one.level == "error"]
    if bad:
        more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise Usage(
            f"{directory} is not pushed: {'; '.join(bad[:_SHOWN])}{more}",
            f"{program} lint DIR says what to do about each; --no-lint pushes it all the same",
        )
    for one in findings:
        if one.level == "warning":
            sys.stderr.write(f"warning: {one.path}: {one.message}\n")


def upload(kind: Kind, bundle: bytes) -> int:
    """Send it; the number that it has."""
    import base64

    from gantry.client.connection import Connection

    body = {**kind.fields, "packed": base64.b64encode(bundle).decode()}
    number: int = Connection().post(f"{kind.path}/bundles", body)["number"]
    return number


def roll_back(arguments: argparse.Namespace, kind: Kind) -> int:
    """Submit the job that goes back to ``--to``, or to the one before."""
    return submit(arguments, kind, arguments.to, going_back=True)


def submit(
    arguments: argparse.Namespace, kind: Kind, number: int | None, *, going_back: bool = False
) -> int:
    """Submit the job that installs it; None: the one before."""
    operation = {
        **kind.operation,
        "bundle": number,
        "going_back": going_back,
        "node_names": arguments.node,
        "replace": arguments.replace,
    }
    return jobs.run(arguments, [operation])
