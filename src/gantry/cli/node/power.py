"""``gnt-node power``."""

from __future__ import annotations

import argparse
from typing import Any

from gantry.cli import confirm, ganeti_options, jobs, power
from gantry.cli import options as shared
from gantry.cli.errors import Usage

EXAMPLES = """
gnt-node power status --all
gnt-node power off node3                    (refused while guests run there; then marked offline)
gnt-node power off --ignore-status node3    (whatever runs there ends at once)
gnt-node power on node3                     (then: gnt-node modify --offline=no node3)
gnt-node power cycle -f node3
gnt-node power off --dry-run node3          (whether it could be done; nothing is switched)
"""
_COMMANDS = ("on", "off", "cycle", "status")
_DOING = {"on": "Power on", "off": "Power off", "cycle": "Power-cycle"}


def options(parser: argparse.ArgumentParser) -> None:
    """What, and which nodes."""
    parser.add_argument("what", choices=_COMMANDS, metavar="on|off|cycle|status")
    parser.add_argument("names", nargs="*", metavar="NODE")
    parser.add_argument(
        "--all", action="store_true", help="all nodes; off and cycle: not the master"
    )
    parser.add_argument(
        "--ignore-status",
        action="store_true",
        help="take the power although guests run there, or may run there",
    )
    shared.force(parser, "do not ask, and take the power of the master too")
    power.delay(parser)
    power.options(parser)
    ganeti_options.without_effect(parser, "--auto-promote")
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Switch, or show."""
    if bool(arguments.names) == arguments.all:
        raise Usage("give the names of nodes, or --all, and not both")
    if arguments.what == "status":
        return power.show(arguments, _operation(arguments, arguments.names), _status)
    names = power.names(arguments, all_but_master=arguments.what != "on")
    if not names:
        raise Usage("there is no node but the master")
    if arguments.dry_run == "no":
        confirm.ask(f"{_DOING[arguments.what]} {', '.join(names)}?", arguments.force)
    if arguments.what != "off":
        return jobs.run(arguments, [_operation(arguments, names)])
    # One job a node: the power of one that fails keeps no other one on.
    return max(
        jobs.run(arguments, power.taking(arguments, name, _operation(arguments, [name])))
        for name in names
    )


def _operation(arguments: argparse.Namespace, names: list[str]) -> dict[str, Any]:
    return {
        "OP_ID": "OP_OOB_COMMAND",
        "command": f"power-{arguments.what}",
        "node_names": names,
        "ignore_status": arguments.ignore_status,
        "force": arguments.force,
        "timeout": arguments.oob_timeout,
        "power_delay": arguments.power_delay,
    }


def _status(data: dict[str, Any]) -> str:
    return "powered" if data["powered"] else "unpowered"
