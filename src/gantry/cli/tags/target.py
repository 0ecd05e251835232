"""Which object a tag command is about: from the program's name and the first argument."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gantry.cli import options as shared
from gantry.cli.errors import Usage

_KINDS = {
    "gnt-cluster": "cluster",
    "gnt-group": "nodegroup",
    "gnt-node": "node",
    "gnt-instance": "instance",
}


def options(parser: argparse.ArgumentParser) -> None:
    """Of add-tags and remove-tags."""
    parser.add_argument(
        "words", nargs="*", metavar="[NAME] TAG", help="no NAME where the cluster is meant"
    )
    parser.add_argument("--from", dest="file", metavar="FILE", help="tags one a line; - is stdin")
    shared.job(parser)


def split(arguments: argparse.Namespace, more: bool) -> tuple[str, str | None, list[str]]:
    """Kind, name (None: the cluster) and tags; ``more``: whether tags are wanted."""
    kind, rest = _KINDS[arguments.program], list(arguments.words)
    name = None
    if kind != "cluster":
        if not rest:
            raise Usage(f"the name of the {kind} is missing")
        name = rest.pop(0)
    if more and not rest:
        raise Usage("give the tags")
    if rest and not more:
        raise Usage(f"too many arguments: {' '.join(rest)}")
    return kind, name, rest


def operation(opcode: str, arguments: argparse.Namespace) -> dict[str, object]:
    """The operation's fields."""
    kind, name, tags = split(arguments, not arguments.file)
    if arguments.file:
        tags = _read(arguments.file)
    return {"OP_ID": opcode, "kind": kind, "tags": tags, **({"name": name} if name else {})}


def _read(path: str) -> list[str]:
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Usage(f"--from: cannot read {path}: {why}") from None
    tags = [line.strip() for line in text.splitlines() if line.strip()]
    if not tags:
        raise Usage(f"--from: {path} has no tags")
    return tags
