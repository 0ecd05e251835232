"""``gnt-instance shutdown`` (``stop``)."""

from __future__ import annotations

import argparse

from gantry.cli import options as shared
from gantry.cli import selection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXAMPLES = """
gnt-instance stop web1
gnt-instance stop --timeout=30 web1         (then power it off)
gnt-instance stop --force web1              (power it off at once)
gnt-instance stop --tags env:test --force-multiple
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which instances, and how long to wait."""
    selection.options(parser)
    shared.force(parser, "power off at once, also one that is marked offline")
    shared.shutdown_timeout(parser, "--timeout")
    parser.add_argument("--ignore-offline", action="store_true", help="mark it down all the same")
    parser.add_argument("--no-remember", action="store_true", help="do not mark it as down")
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Stop them."""

    def operation(name: str) -> dict[str, Any]:
        return {
            "OP_ID": "OP_INSTANCE_SHUTDOWN",
            "instance_name": name,
            "force": arguments.force,
            "timeout": arguments.timeout,
            "ignore_offline_nodes": arguments.ignore_offline,
            "no_remember": arguments.no_remember,
        }

    return selection.run_each(arguments, "Stop", operation)
