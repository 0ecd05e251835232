"""Which bundle each node has: what both kinds of bundle show."""

from __future__ import annotations

from gantry.cli import rows
from gantry.client.connection import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from gantry.cli.bundle.kind import Kind

_FIELDS = (
    ("node", "Node", "text"),
    ("wanted", "Wanted", "text"),
    ("before", "Before", "text"),
    ("installed", "Installed", "text"),
    ("state", "State", "text"),
    ("drift", "Drift", "other"),
    ("local", "Local", "other"),
)
_OS = ("os", "OS", "text")
_DRIFT = ("missing", "changed", "hidden", "added")


def options(parser: argparse.ArgumentParser) -> None:
    """Which nodes, and how to show them."""
    parser.add_argument("-n", "--node", metavar="NODE", help="only this node")
    rows.options(parser)


def installed(arguments: argparse.Namespace, kind: Kind) -> Any:
    """What nodes have, asked now."""
    query = {"node": arguments.node} if arguments.node else {}
    return Connection().get(f"{kind.path}/installed", **query, **kind.fields)


def show(arguments: argparse.Namespace, kind: Kind) -> int:
    """A line a node: what it is to have, what it has, what differs, what is local."""
    found = installed(arguments, kind)
    named = kind.path == "os"
    lines = [([one["name"]] if named else []) + _row(one) for one in found]
    return rows.write(arguments, (_OS, *_FIELDS) if named else _FIELDS, lines)


def _row(one: dict[str, Any]) -> list[Any]:
    drift = [f"{file['path']} {file['kind']}" for file in one["files"] if file["kind"] in _DRIFT]
    local = [file["path"] for file in one["files"] if file["kind"] == "local"]
    state = _state(one, drift, local)
    return [one["node"], one["wanted"], one["before"], _number(one), state, drift, local]


def _number(one: dict[str, Any]) -> Any:
    """The number, or for a bundle that is not kept any more the beginning of its hash."""
    if one["problem"]:
        return None
    return one["number"] if one["number"] is not None else one["sha256"][:12]


def _state(one: dict[str, Any], drift: list[str], local: list[str]) -> str:
    if one["offline"]:
        return "offline"
    if one["problem"]:
        return "away"
    if one["wanted"] is not None and one["number"] != one["wanted"]:
        return "behind"
    if drift:
        return "drift"
    if one["number"]:
        return "ok"
    # Of a definition: beside a bundle of hooks there may always be local files.
    return "local" if local and "name" in one else "none"
