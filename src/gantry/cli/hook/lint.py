"""``gnt-hook lint``."""

from __future__ import annotations

import argparse
import json
import sys

from gantry.cli import errors, table
from gantry.client.connection import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXAMPLES = """
gnt-hook lint                          (all nodes of the cluster)
gnt-hook lint --node node2
gnt-hook lint ./hooks                  (a directory, without a cluster)
gnt-hook lint --hooks-version 2 ./hooks
gnt-hook lint --strict --json
"""


def options(parser: argparse.ArgumentParser) -> None:
    """What to look at, and what counts."""
    parser.add_argument(
        "directory",
        nargs="?",
        metavar="DIR",
        help="a directory such as /etc/ganeti/hooks on this machine, instead of the nodes",
    )
    parser.add_argument("-n", "--node", metavar="NODE", help="only this node of the cluster")
    parser.add_argument(
        "--hooks-version",
        choices=("1", "2"),
        default="1",
        help="of a DIR: which version of the interface its cluster uses (1)",
    )
    parser.add_argument("--strict", action="store_true", help="warnings count as errors")


def run(arguments: argparse.Namespace) -> int:
    """Say what was found; 1 where there are errors, or a node did not answer."""
    if arguments.directory is None:
        found = Connection().get("hooks/lint", **_node(arguments))
    elif arguments.node:
        raise errors.Usage("a directory is looked at here, not on a node", "leave --node out")
    else:
        found = _here(arguments)
    findings = found["findings"]
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        sys.stdout.write("".join(_text(one) for one in findings))
        sys.stdout.write(_sum(findings, found["nodes"]))
    for one in found["problems"]:
        sys.stderr.write(f"{one['node']} was not looked at: {one['problem']}\n")
    bad = [one for one in findings if arguments.strict or one["level"] == "error"]
    return 1 if bad or found["problems"] else 0


def _node(arguments: argparse.Namespace) -> dict[str, str]:
    return {"node": arguments.node} if arguments.node else {}


def _here(arguments: argparse.Namespace) -> dict[str, Any]:
    import msgspec

    from gantry.hooks.lint import check

    version = int(arguments.hooks_version)
    inventory = arguments.bench().inventory(arguments.directory, version)
    findings = msgspec.to_builtins(check(inventory, version))
    return {"findings": list(findings), "nodes": [], "problems": []}


def _text(one: dict[str, Any]) -> str:
    path = table.printable(one["path"])
    where = f"{one['node']} {path}" if one["node"] else path
    hint = f"\n    {one['hint']}" if one["hint"] else ""
    text = f"{one['level']}: {where}: {one['message']}{hint}"
    return "".join(f"{table.printable(line)}\n" for line in text.split("\n"))


def _sum(findings: list[dict[str, Any]], nodes: list[str]) -> str:
    bad = sum(one["level"] == "error" for one in findings)
    where = f" on {len(nodes)} node{'s' * (len(nodes) != 1)}" if nodes else ""
    if not findings:
        return f"nothing to complain of{where}\n"
    mild = len(findings) - bad
    return f"{bad} error{'s' * (bad != 1)}, {mild} warning{'s' * (mild != 1)}{where}\n"
