"""``gnt-cluster epo``."""

from __future__ import annotations

import argparse
import sys

from gantry.cli import confirm, jobs, power, together
from gantry.cli import options as shared
from gantry.cli.errors import Usage
from gantry.client.connection import Connection, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Row = dict[str, Any]

EXAMPLES = """
gnt-cluster epo --all             (stops all guests, powers off all nodes but the master's)
gnt-cluster epo node3 node4
gnt-cluster epo --on --all        (powers on; guests start when their nodes answer)
gnt-cluster epo --dry-run --all   (which jobs there would be; nothing is stopped or switched)
"""
TAG = "gantry:epo"
"""On the cluster while guests are not started again since this command said so."""
_FIELDS = ("name", "master", "offline", "ndp/oob_program")


def options(parser: argparse.ArgumentParser) -> None:
    """Off or on, and which nodes."""
    parser.add_argument("names", nargs="*", metavar="NODE")
    parser.add_argument("--all", action="store_true", help="all nodes")
    parser.add_argument("--on", action="store_true", help="power on what it has powered off")
    shared.force(parser)
    shared.shutdown_timeout(parser)
    power.delay(parser)
    power.timeout(parser)
    shared.steps(parser)


def run(arguments: argparse.Namespace) -> int:
    """All in one, step by step; what fails ends it before the next step."""
    if bool(arguments.names) == arguments.all:
        raise Usage("give the names of nodes, or --all, and not both")
    nodes = _nodes(arguments)
    names = ", ".join(node["name"] for node in nodes)
    what = "Power on" if arguments.on else "Stop all guests of, and power off,"
    if arguments.dry_run == "no":
        confirm.ask(f"{what} {names}?", arguments.force)
    steps = _on(arguments, nodes) if arguments.on else _off(arguments, nodes)
    made: list[Row] = []
    status = 0
    for wanted in steps:
        ended, status = together.run(arguments, wanted, arguments.json)
        made += ended
        if status:
            break
    if arguments.json:
        jobs.write_json(made)
    elif status:
        sys.stderr.write("it ended here: mend that, and give the same command again\n")
    elif arguments.dry_run == "no":
        _left(arguments, nodes)
    else:
        jobs.tell_trial(arguments)
    return status


def _nodes(arguments: argparse.Namespace) -> list[Row]:
    connection = Connection()
    rows = connection.get("query/node", fields=",".join(_FIELDS))["rows"]
    found = [dict(zip(_FIELDS, row, strict=True)) for row in rows]
    if arguments.all:
        return found
    wanted = {connection.get(f"nodes/{quoted(name)}")["name"] for name in arguments.names}
    return [node for node in found if node["name"] in wanted]


def _switched(nodes: list[Row]) -> list[Row]:
    """Those whose power can be taken: the master's is needed for that."""
    return [node for node in nodes if node["ndp/oob_program"] and not node["master"]]


def _off(arguments: argparse.Namespace, nodes: list[Row]) -> list[list[tuple[str, list[Row]]]]:
    """Nobody starts guests again; they are stopped, and stay marked as to be up; then the power."""
    there = {node["name"] for node in nodes}
    rows = Connection().get("query/instance", fields="name,pnode,oper_state")["rows"]
    running = [name for name, node, up in rows if node in there and up]
    stop = [(f"stopping {name}", [_stop(arguments, name)]) for name in running]
    taken = [
        (f"powering {name} off", power.taking(arguments, name, _take(arguments, name)))
        for name in (node["name"] for node in _switched(nodes) if not node["offline"])
    ]
    return [_maintained(False), stop, taken]


def _on(arguments: argparse.Namespace, nodes: list[Row]) -> list[list[tuple[str, list[Row]]]]:
    off = [node["name"] for node in _switched(nodes) if node["offline"]]
    switch = {
        "OP_ID": "OP_OOB_COMMAND",
        "command": "power-on",
        "node_names": off,
        "timeout": arguments.oob_timeout,
        "power_delay": arguments.power_delay,
    }
    # In a trial nothing has been switched on that could be marked: there it is said to be.
    on = {} if arguments.dry_run == "no" else {"powered": True}
    mark = {"OP_ID": "OP_NODE_SET_PARAMS", "offline": False, **on}
    marks = [(f"marking {name}", [{**mark, "node_name": name}]) for name in off]
    return [[("powering on", [switch])] if off else [], marks, _maintained(True)]


def _take(arguments: argparse.Namespace, name: str) -> Row:
    return {
        "OP_ID": "OP_OOB_COMMAND",
        "command": "power-off",
        "node_names": [name],
        "timeout": arguments.oob_timeout,
        # By then its guests are stopped; in a trial they are not.
        "ignore_status": arguments.dry_run != "no",
    }


def _stop(arguments: argparse.Namespace, name: str) -> Row:
    return {
        "OP_ID": "OP_INSTANCE_SHUTDOWN",
        "instance_name": name,
        "timeout": arguments.shutdown_timeout,
        "no_remember": True,
    }


def _maintained(wanted: bool) -> list[tuple[str, list[Row]]]:
    """Whether guests are started again; back only where it was this command that said no."""
    cluster = Connection().get("info")
    if cluster["maintain"] is wanted or (wanted and TAG not in cluster["tags"]):
        return []
    tag = {
        "OP_ID": "OP_TAGS_DEL" if wanted else "OP_TAGS_SET",
        "kind": "cluster",
        "tags": [TAG],
    }
    change = {"OP_ID": "OP_CLUSTER_SET_PARAMS", "maintain_node_health": wanted}
    return [("supervision", [change, tag])]


def _left(arguments: argparse.Namespace, nodes: list[Row]) -> None:
    """What a person has to do."""
    if arguments.on:
        sys.stdout.write("guests that should be up are started when their nodes answer\n")
        return
    left = [node["name"] for node in nodes if node not in _switched(nodes)]
    if left:
        sys.stdout.write(f"still to be switched off by hand: {', '.join(left)}\n")
