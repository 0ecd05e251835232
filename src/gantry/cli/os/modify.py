"""``gnt-os modify``."""

from __future__ import annotations

import argparse
from typing import Any

from gantry.cli import jobs, values
from gantry.cli import options as shared

EXAMPLES = """
gnt-os modify -H kvm:kernel_path=/srv/kernel/vmlinuz,initrd_path=/srv/kernel/initrd.img busybox
gnt-os modify -O nameserver=192.0.2.1 busybox
gnt-os modify --hidden=yes --blacklisted=yes old-debian
"""


def options(parser: argparse.ArgumentParser) -> None:
    """What can be changed."""
    parser.add_argument("name", metavar="OS[+VARIANT]")
    parser.add_argument(
        "-H",
        "--hypervisor-parameters",
        action="append",
        default=[],
        metavar="HYPERVISOR:NAME=VALUE,…",
    )
    parser.add_argument("-O", "--os-parameters", metavar="NAME=VALUE,…")
    parser.add_argument("--os-parameters-private", metavar="NAME=VALUE,…")
    parser.add_argument("--hidden", type=shared.yes_no, metavar="yes|no", help="not in gnt-os list")
    parser.add_argument(
        "--blacklisted", type=shared.yes_no, metavar="yes|no", help="no new instances with it"
    )
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it: an OS's settings are the cluster's."""
    name = arguments.name
    operation: dict[str, Any] = {"OP_ID": "OP_CLUSTER_SET_PARAMS"}
    if arguments.hypervisor_parameters:
        operation["os_hvp"] = {name: values.by_head(arguments.hypervisor_parameters, "-H")}
    if arguments.os_parameters:
        operation["osparams"] = {name: values.texts(arguments.os_parameters, "-O")}
    if arguments.os_parameters_private:
        private = values.texts(arguments.os_parameters_private, "--os-parameters-private")
        operation["osparams_private_cluster"] = {name: private}
    for option, field in (("hidden", "hidden_os"), ("blacklisted", "blacklisted_os")):
        wanted = getattr(arguments, option)
        if wanted is not None:
            operation[field] = [["add" if wanted else "remove", name]]
    return jobs.run(arguments, [operation])
