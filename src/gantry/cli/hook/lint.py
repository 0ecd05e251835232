"""``gnt-hook lint``."""

from __future__ import annotations

import argparse

from gantry.cli import errors, findings
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
    findings.options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Say what was found; 1 where there are errors, or a node did not answer."""
    if arguments.directory is None:
        found = Connection().get("hooks/lint", **_node(arguments))
    elif arguments.node:
        raise errors.Usage("a directory is looked at here, not on a node", "leave --node out")
    else:
        found = _here(arguments)
    return findings.show(arguments, found)


def _node(arguments: argparse.Namespace) -> dict[str, str]:
    return {"node": arguments.node} if arguments.node else {}


def _here(arguments: argparse.Namespace) -> dict[str, Any]:
    import msgspec

    from gantry.hooks.lint import check

    version = int(arguments.hooks_version)
    inventory = arguments.bench().inventory(arguments.directory, version)
    said = msgspec.to_builtins(check(inventory, version))
    return {"findings": list(said), "nodes": [], "problems": []}
