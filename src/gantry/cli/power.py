"""What commands about nodes' power share: options, names, and the table of answers."""

from __future__ import annotations

import sys

from gantry.cli import errors, jobs, table
from gantry.cli import options as shared
from gantry.client.connection import Connection, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any

_NORMAL, _UNAVAILABLE = 0, 3
_FIELDS = [
    {"name": "name", "title": "Node", "kind": "text"},
    {"name": "status", "title": "Status", "kind": "text"},
]


def options(parser: argparse.ArgumentParser) -> None:
    """How the table looks, and how long the program may take."""
    parser.add_argument("--no-headers", action="store_true", help="leave the titles out")
    parser.add_argument("--separator", metavar="TEXT", help="between columns, instead of aligning")
    timeout(parser)


def delay(parser: argparse.ArgumentParser) -> None:
    """How slowly many nodes are switched on."""
    parser.add_argument(
        "--power-delay",
        type=float,
        default=2.0,
        metavar="SECONDS",
        help="between two nodes that are switched on (2)",
    )


def timeout(parser: argparse.ArgumentParser) -> None:
    """How long the program may take."""
    parser.add_argument(
        "--oob-timeout",
        type=shared.whole_number,
        default=60,
        metavar="SECONDS",
        help="how long one call of the program that switches power may take (60)",
    )


def show(
    arguments: argparse.Namespace, operation: dict[str, Any], text: Callable[[Any], str]
) -> int:
    """Ask for all nodes' answers and show them; 1 where one of them is missing."""
    job, status = jobs.wait_for(arguments, [operation])
    if job is None or status or arguments.dry_run != "no":
        if job is not None and arguments.json:
            jobs.write_json(jobs.summary(job))
        return status
    [op] = job["ops"]
    answers = [(node, state, data) for (_, node), (state, data) in op.get("result") or ()]
    if arguments.json:
        jobs.write_json([{"name": node, "answer": data} for node, _, data in answers])
    else:
        rows = [[node, _text(state, data, text)] for node, state, data in answers]
        sys.stdout.write(
            table.show(
                _FIELDS,
                rows,
                headers=not arguments.no_headers,
                separator=arguments.separator,
            )
        )
    return errors.FAILURE if any(state != _NORMAL for _, state, _ in answers) else 0


def _text(state: int, data: Any, text: Callable[[Any], str]) -> str:
    if state == _NORMAL:
        return text(data)
    return "(no program)" if state == _UNAVAILABLE else "(no answer)"


def names(arguments: argparse.Namespace, *, all_but_master: bool) -> list[str]:
    """Those that were given; with ``--all`` those of all nodes."""
    if arguments.names:
        return list(dict.fromkeys(arguments.names))
    rows = Connection().get("query/node", fields="name,master")["rows"]
    return [name for name, master in rows if not (master and all_but_master)]


def is_master(name: str) -> bool:
    """Whether that node is the master."""
    return bool(Connection().get(f"nodes/{quoted(name)}")["role"] == "master")


def taking(
    arguments: argparse.Namespace, name: str, operation: dict[str, Any]
) -> list[dict[str, Any]]:
    """One job: take a node's power; then its record says that it is off, and it is marked.

    In a dry run it stays on. So there the mark is tried with the word that it is off, and not at
    all while guests run there.
    """
    if is_master(name):
        return [operation]
    mark = {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": name, "offline": True}
    if arguments.dry_run == "no":
        return [operation, mark]
    if _has_guests(name):
        sys.stderr.write(
            f"{name}: that it is marked offline afterwards cannot be tried while guests run there\n"
        )
        return [operation]
    return [operation, {**mark, "powered_off": True}]


def _has_guests(name: str) -> bool:
    connection = Connection()
    node = connection.get(f"nodes/{quoted(name)}")["name"]
    rows = connection.get("query/instance", fields="pnode,oper_state")["rows"]
    return any(primary == node and up for primary, up in rows)
