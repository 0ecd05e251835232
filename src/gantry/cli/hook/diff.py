"""``gnt-hook diff``."""

from __future__ import annotations

import argparse
import sys

from gantry.cli import table
from gantry.client.connection import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXAMPLES = """
gnt-hook diff ./hooks
gnt-hook diff ./hooks --node node2
gnt-hook diff ./hooks --json
"""
_MARKS = {"added": "+", "removed": "-", "changed": "!", "local": "?"}
_DIFFERENT = 1


def options(parser: argparse.ArgumentParser) -> None:
    """What to compare with what."""
    parser.add_argument("directory", metavar="DIR", help="as for gnt-hook push")
    parser.add_argument("-n", "--node", metavar="NODE", help="only with this node")


def run(arguments: argparse.Namespace) -> int:
    """What a push would change: + comes, - goes, ! changes, ? is in the way; status 1 if any."""
    import json

    from gantry.cli.hook import directory
    from gantry.model import bundles

    wanted = {one.path: one for one in bundles.entries(directory.read(arguments.directory))}
    query = {"node": arguments.node} if arguments.node else {}
    answers = Connection().get("hooks/installed", **query)
    found = [
        {"node": one["node"], "path": path, "change": change}
        for one in answers
        if not one["problem"]
        for path, change in _changes(wanted, one["files"])
    ]
    if arguments.json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        for line in found:
            mark = _MARKS[line["change"]]
            sys.stdout.write(f"{line['node']} {mark} {table.printable(line['path'])}\n")
    for one in answers:
        if one["problem"]:
            sys.stderr.write(f"{one['node']} is missing: {one['problem']}\n")
    return _DIFFERENT if found else 0


def _changes(wanted: dict[str, Any], files: list[dict[str, Any]]) -> list[tuple[str, str]]:
    local = {one["path"] for one in files if one["kind"] == "local"}
    mine = {one["path"]: one for one in files if one["kind"] != "local"}
    found = [(path, "removed") for path in mine if path not in wanted]
    for path, entry in wanted.items():
        here = mine.get(path)
        if path in local:
            found.append((path, "local"))
        elif here is None:
            found.append((path, "added"))
        elif here["kind"] == "missing" or (here["sha256"], here["mode"]) != (
            entry.sha256,
            entry.mode,
        ):
            found.append((path, "changed"))
    return sorted(found)
