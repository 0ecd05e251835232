"""``gnt-instance startup`` (``start``)."""

from __future__ import annotations

import argparse

from gantry.cli import options as shared
from gantry.cli import selection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXAMPLES = """
gnt-instance start web1
gnt-instance start --node node2.example.com
gnt-instance start -B memory=2G web1        (for this start only)
gnt-instance start -H kernel_args=single web1
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which instances, and how."""
    selection.options(parser)
    shared.force(parser, "as Ganeti has it; hooks see it")
    parser.add_argument("-H", "--hypervisor-parameters", metavar="NAME=VALUE,…")
    parser.add_argument("-B", "--backend-parameters", metavar="NAME=VALUE,…")
    parser.add_argument("--ignore-offline", action="store_true", help="mark it up all the same")
    parser.add_argument("--no-remember", action="store_true", help="do not mark it as to be up")
    parser.add_argument("--paused", action="store_true", help="start it paused")
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Start them."""
    once: dict[str, Any] = {}
    if arguments.hypervisor_parameters or arguments.backend_parameters:
        from gantry.cli import values

        once["hvparams"] = values.key_values(arguments.hypervisor_parameters or "", "-H")
        once["beparams"] = values.key_values(arguments.backend_parameters or "", "-B")

    def operation(name: str) -> dict[str, Any]:
        return {
            "OP_ID": "OP_INSTANCE_STARTUP",
            "instance_name": name,
            "force": arguments.force,
            "ignore_offline_nodes": arguments.ignore_offline,
            "no_remember": arguments.no_remember,
            "startup_paused": arguments.paused,
            **once,
        }

    return selection.run_each(arguments, "Start", operation)
