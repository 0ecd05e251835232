"""``gnt-os diagnose``."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from gantry.cli import ganeti_options, table
from gantry.cli.errors import Usage
from gantry.client.connection import Connection, quoted

EXAMPLES = """
gnt-os diagnose
gnt-os diagnose debian      (also shows what differs between nodes, line by line)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which ones."""
    parser.add_argument("names", nargs="*", metavar="OS", help="default: all")
    ganeti_options.without_effect(parser, "--priority", value=True)


def run(arguments: argparse.Namespace) -> int:
    """Definitions on all nodes; exit status 1 where one is not valid or not alike everywhere."""
    connection = Connection()
    everywhere = {one["name"]: one for one in connection.get("os")}
    wanted = [name.partition("+")[0] for name in arguments.names] or list(everywhere)
    missing = [name for name in wanted if name not in everywhere]
    if missing:
        raise Usage(f"no node has an OS definition {', '.join(missing)}", "see gnt-os diagnose")
    found = [everywhere[name] for name in dict.fromkeys(wanted)]
    for one in found:
        if one["differing"]:
            one["difference"] = connection.get(f"os/{quoted(one['name'])}/difference")
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        sys.stdout.write("\n".join(text(one) for one in found))
    return 0 if all(one["valid"] and not one["differing"] for one in found) else 1


def text(one: dict[str, Any]) -> str:
    """One definition as it is on all nodes, for people; ``one`` is of the API's ``os``."""
    states = [name for name in ("hidden", "blacklisted") if one[name]]
    valid = "valid" if one["valid"] else "invalid"
    if one["differing"]:
        states.append("differs between nodes")
    status = {node: _hiding(entries) for node, entries in one["node_status"].items()}
    body = {"node_status": status}
    body |= {name: one[name] for name in ("problems", "differing") if one[name]}
    said = f"OS: {one['name']} [{', '.join([valid, *states])}]\n" + table.document(body, 1)
    nodes = one.get("difference", {}).get("nodes", {})
    for node, lines in nodes.items():
        usual = one["difference"]["usual"]
        said += f"  what {node} has otherwise than {usual}:\n"
        said += "".join(f"    {line}\n" for line in lines)
    return said


def _hiding(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of one node, with a word at each that the first one hides."""
    hidden = f"hidden by {entries[0]['path']}" if entries else ""
    later = [
        {**one, "problem": f"{one['problem']}; {hidden}" if one["problem"] else hidden}
        for one in entries[1:]
    ]
    return entries[:1] + later
