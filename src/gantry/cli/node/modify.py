"""``gnt-node modify``."""

from __future__ import annotations

import argparse
from typing import Any

from gantry.cli import confirm, jobs, values
from gantry.cli import options as shared

EXAMPLES = """
gnt-node modify --drained=yes node4         (no new instances there)
gnt-node modify --offline=yes node4         (the machine is certainly off)
gnt-node modify --offline=no node4
gnt-node modify --node-parameters oob_program=/usr/local/sbin/ipmi node4  (see gnt-node power)
gnt-node modify -C yes node4                (may become the master, gets the cluster's keys)
gnt-node modify -C no --auto-promote node4  (and another node becomes a candidate instead)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """What can be changed."""
    parser.add_argument("name", metavar="NODE")
    for short, name, text in (
        ("-C", "master-candidate", "whether it may become the master"),
        ("-D", "drained", "whether it takes no new instances"),
        ("-O", "offline", "whether it is powered off"),
    ):
        parser.add_argument(short, f"--{name}", type=shared.yes_no, metavar="yes|no", help=text)
    parser.add_argument("--master-capable", type=shared.yes_no, metavar="yes|no")
    parser.add_argument("--vm-capable", type=shared.yes_no, metavar="yes|no")
    parser.add_argument(
        "--auto-promote",
        action="store_true",
        help="with -C no: another node becomes a candidate in its place",
    )
    parser.add_argument(
        "--node-powered",
        dest="powered",
        type=shared.yes_no,
        metavar="yes|no",
        help="mend the record of its power, where a program can switch it",
    )
    parser.add_argument("-s", "--secondary-ip", metavar="ADDRESS")
    parser.add_argument("--node-parameters", metavar="NAME=VALUE,…")
    shared.force(parser)
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it; marking a node offline asks first."""
    if arguments.offline and arguments.dry_run == "no":
        confirm.ask(
            f"Is node {arguments.name} certainly powered off, or cut off from disks and network?\n"
            "Its instances may be started elsewhere once it is marked offline.",
            arguments.force,
        )
    operation: dict[str, Any] = {
        "OP_ID": "OP_NODE_SET_PARAMS",
        "node_name": arguments.name,
        "force": arguments.force,
        "auto_promote": arguments.auto_promote,
        "ndparams": values.key_values(arguments.node_parameters or "", "--node-parameters"),
        **shared.given(
            arguments,
            "master_candidate",
            "drained",
            "offline",
            "master_capable",
            "vm_capable",
            "secondary_ip",
            "powered",
        ),
    }
    if arguments.offline:
        operation["powered_off"] = True
    return jobs.modify(arguments, "node", operation)
