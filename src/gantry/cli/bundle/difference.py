"""A directory against what nodes have: what a push would change."""

from __future__ import annotations

import sys

from gantry.cli import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from gantry.cli.bundle.kind import Kind

_MARKS = {"added": "+", "removed": "-", "changed": "!", "local": "?"}
_DIFFERENT = 1


def show(arguments: argparse.Namespace, kind: Kind) -> int:
    """A line a file and node; status 1 if there is one."""
    import json

    from gantry.cli.bundle import directory, standing
    from gantry.model import bundles

    files = bundles.entries(directory.read(arguments.directory))
    wanted = {one.path: one for one in files}
    answers = standing.installed(arguments, kind)
    found = [
        {"node": one["node"], "path": path, "change": change}
        for one in answers
        if not one["problem"]
        for path, change in _changes(wanted, one["files"], kind.name)
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


def _changes(
    wanted: dict[str, Any], files: list[dict[str, Any]], name: str
) -> list[tuple[str, str]]:
    """``name``: of a definition, which is local as a whole."""
    local = {one["path"] for one in files if one["kind"] == "local"}
    mine = {one["path"]: one for one in files if one["kind"] != "local"}
    found = [(path, "removed") for path in mine if path not in wanted]
    for path, entry in wanted.items():
        here = mine.get(path)
        if (name or path) in local:
            found.append((path, "local"))
        elif here is None:
            found.append((path, "added"))
        elif here["kind"] == "missing" or (here["sha256"], here["mode"]) != (
            entry.sha256,
            entry.mode,
        ):
            found.append((path, "changed"))
    return sorted(found)
