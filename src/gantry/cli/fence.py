"""``--fence``: take a silent node's power before its guests are started elsewhere.

Silence alone never leads to it: the operator has to say so, each time, and is shown what it ends.
"""

from __future__ import annotations

import argparse

from gantry.cli import jobs
from gantry.cli.errors import Usage
from gantry.client.connection import Connection, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def option(parser: argparse.ArgumentParser) -> None:
    """``--fence``."""
    parser.add_argument(
        "--fence",
        action="store_true",
        help="where its node does not answer: take that machine's power first (gnt-node power)",
    )


def node_of(instance: str) -> dict[str, Any]:
    """The node that an instance is on."""
    connection = Connection()
    primary = connection.get(f"instances/{quoted(instance)}")["pnode"]
    return of(primary)


def of(name: str) -> dict[str, Any]:
    """A node, as the API shows it; Usage where nothing could take its power."""
    node: dict[str, Any] = Connection().get(f"nodes/{quoted(name)}")
    if needed(node) and not node["ndparams"]["oob_program"]:
        raise Usage(
            f"--fence: node {node['name']} has no program that switches its power",
            "gnt-node modify --node-parameters oob_program=/PATH; or, once it is certainly off: "
            f"gnt-node modify --offline=yes {node['name']}",
        )
    return node


def needed(node: dict[str, Any]) -> bool:
    """Whether only its power could tell that its guests are dead."""
    return not (node["reachable"] or node["offline"])


def warning(node: dict[str, Any] | None) -> str:
    """What the operator is to know before; nothing of no node."""
    if node is None or not needed(node):
        return ""
    there = ", ".join(node["pinst_list"]) or "nothing that is known"
    return (
        f"Node {node['name']} does not answer: it will be powered off and marked offline.\n"
        f"Whatever runs there ends at once ({there}).\n"
    )


def operations(node: dict[str, Any] | None) -> list[dict[str, Any]]:
    """What goes before, in the same job: nothing where the node answers, or is off already."""
    if node is None or not needed(node):
        return []
    taken = {
        "OP_ID": "OP_OOB_COMMAND",
        "command": "power-off",
        "node_names": [node["name"]],
        "ignore_status": True,
    }
    mark = {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": node["name"], "offline": True}
    return [taken, mark]


def first(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """The node of a command about all of a node's instances, where ``--fence`` was given."""
    if not arguments.fence:
        return None
    if arguments.submit or arguments.dry_run != "no":
        raise Usage(
            "--fence goes with neither --submit nor --dry-run",
            "gnt-node power off --ignore-status NODE first; its instances can be moved after that",
        )
    return of(arguments.name)


def taken(arguments: argparse.Namespace, node: dict[str, Any] | None) -> int:
    """Take its power, in a job of its own; 0 where that is not needed, or was done."""
    before = operations(node)
    return jobs.run(arguments, before) if before else 0
