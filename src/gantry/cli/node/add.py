"""``gnt-node add``."""

from __future__ import annotations

import argparse
from typing import Any

from gantry.cli import ganeti_options, jobs, values
from gantry.cli import options as shared

EXAMPLES = """
on the master:   gantry token node4.example.com > node4.token
on node4:        gantry join < node4.token ; systemctl start gantry-agent
on the master:   gnt-node add node4.example.com
gnt-node add -s 192.0.2.14 node4.example.com
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which machine, and as what."""
    parser.add_argument("name", metavar="NAME", help="the name that the token was made for")
    parser.add_argument("-s", "--secondary-ip", metavar="ADDRESS", help="for disks' traffic")
    parser.add_argument("--readd", action="store_true", help="it is a node already: bring it back")
    parser.add_argument("-g", "--node-group", metavar="GROUP")
    parser.add_argument("--master-capable", type=shared.yes_no, metavar="yes|no")
    parser.add_argument("--vm-capable", type=shared.yes_no, metavar="yes|no")
    parser.add_argument("--node-parameters", metavar="NAME=VALUE,…")
    ganeti_options.without_effect(parser, "--no-ssh-key-check", "--no-node-setup", "--verbose")
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    operation: dict[str, Any] = {
        "OP_ID": "OP_NODE_ADD",
        "node_name": values.host_name(arguments.name, "the name of a node"),
        "readd": arguments.readd,
        "ndparams": values.key_values(arguments.node_parameters or "", "--node-parameters"),
        **shared.given(arguments, "secondary_ip", "master_capable", "vm_capable"),
    }
    if arguments.node_group:
        operation["group"] = arguments.node_group
    return jobs.run(arguments, [operation])
