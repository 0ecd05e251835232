"""``gnt-cluster master-failover``."""

from __future__ import annotations

import argparse

from gantry.cli import jobs
from gantry.cli import options as shared
from gantry.cli.errors import Usage
from gantry.client import paths

EXAMPLES = """
gnt-cluster master-failover
gnt-cluster master-failover --to node2
gnt-cluster master-failover --from-copy
"""
NOTES = (
    "Typed on the node that is to become the master, unless --to names it. Where the state is in "
    "etcd, another candidate takes over by itself when a master dies, and this is only for moving "
    "it. Where it is in a file (SQLite) and the master is dead for good, --from-copy on a "
    "candidate makes it the master with the last copy of the state that it was sent."
)


def options(parser: argparse.ArgumentParser) -> None:
    """Whereto, and out of what."""
    parser.description = f"{parser.description or ''} {NOTES}"
    parser.add_argument("--to", metavar="NODE", help="the new master (default: this node)")
    parser.add_argument(
        "--ignore-offline-nodes",
        action="store_true",
        help="also while candidates do not answer: they are told when they are back",
    )
    parser.add_argument(
        "--from-copy",
        action="store_true",
        help="the old master is dead: go on with the newest copy of the state on this node",
    )
    parser.add_argument(
        "--yes-do-it", action="store_true", help="do not ask before what cannot be taken back"
    )
    parser.add_argument(
        "--no-voting",
        action="store_true",
        help="taken as Ganeti has it, without effect: nobody votes here",
    )
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it, and follow it over to the new master."""
    if arguments.from_copy:
        raise Usage("--from-copy is not for jobs", "run gnt-cluster master-failover --from-copy")
    operation = {
        "OP_ID": "OP_MASTER_FAILOVER",
        "node_name": arguments.to or paths.own_name(paths.root_of(None)),
        "ignore_offline_nodes": arguments.ignore_offline_nodes,
    }
    return jobs.run(arguments, [operation])
