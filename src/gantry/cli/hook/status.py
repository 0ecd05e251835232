"""``gnt-hook status``."""

from __future__ import annotations

import argparse
import sys

from gantry.cli import table
from gantry.cli.hook import rows
from gantry.client.connection import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXAMPLES = """
gnt-hook status
gnt-hook status --node node2
gnt-hook status --json
"""
_FIELDS = (
    ("node", "Node", "text"),
    ("wanted", "Wanted", "text"),
    ("installed", "Installed", "text"),
    ("state", "State", "text"),
    ("drift", "Drift", "other"),
    ("local", "Local", "other"),
)


def options(parser: argparse.ArgumentParser) -> None:
    """Which nodes, and how to show them."""
    parser.add_argument("-n", "--node", metavar="NODE", help="only this node")
    rows.options(parser)


def run(arguments: argparse.Namespace) -> int:
    """A line a node, asked now: what it is to have, what it has, what differs, what is local."""
    query = {"node": arguments.node} if arguments.node else {}
    found = [_row(one) for one in Connection().get("hooks/installed", **query)]
    fields = [{"name": name, "title": title, "kind": kind} for name, title, kind in _FIELDS]
    if arguments.json:
        sys.stdout.write(table.objects(fields, found))
        return 0
    sys.stdout.write(
        table.show(fields, found, headers=not arguments.no_headers, separator=arguments.separator)
    )
    return 0


def _row(one: dict[str, Any]) -> list[Any]:
    drift = [
        f"{file['path']} {file['kind']}"
        for file in one["files"]
        if file["kind"] in ("missing", "changed", "hidden")
    ]
    local = [file["path"] for file in one["files"] if file["kind"] == "local"]
    return [one["node"], one["wanted"], _installed(one), _state(one, drift), drift, local]


def _installed(one: dict[str, Any]) -> Any:
    """The number, or for a bundle that is not kept any more the beginning of its hash."""
    if one["problem"]:
        return None
    return one["number"] if one["number"] is not None else one["sha256"][:12]


def _state(one: dict[str, Any], drift: list[str]) -> str:
    if one["offline"]:
        return "offline"
    if one["problem"]:
        return "away"
    if one["wanted"] is not None and one["number"] != one["wanted"]:
        return "behind"
    return "drift" if drift else "ok" if one["number"] else "none"
