"""``gnt-instance modify`` (``set``)."""

from __future__ import annotations

import argparse
from typing import Any

from gantry.cli import ganeti_options, jobs, values
from gantry.cli import options as shared
from gantry.cli.errors import Usage

EXAMPLES = """
gnt-instance modify -B memory=2G,vcpus=2 web1
gnt-instance modify -H kernel_args=quiet web1
gnt-instance modify -H kernel_args=default web1   (back to the cluster's setting)
gnt-instance modify --net 0:ip=10.0.0.9 web1
gnt-instance modify --net add:link=br1 --net 0:remove web1
gnt-instance modify --disk add:size=10G,name=data web1
gnt-instance modify --disk 1:name=logs,mode=ro web1
gnt-instance modify --disk 0:on_degraded=continue web1   (of a mirrored one; leaves the promise)
gnt-instance modify --disk -1:remove web1
gnt-instance modify --hotplug --disk add:size=10G web1   (while it runs)
gnt-instance modify --offline web1
gnt-instance modify -t mirror -n node2 web1      (files become mirrored disks, also while it runs)
gnt-instance modify -t file web1                 (and files again)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """What can be changed."""
    parser.add_argument("name", metavar="INSTANCE")
    parser.add_argument("-B", "--backend-parameters", metavar="memory=SIZE,vcpus=N,…")
    parser.add_argument("-H", "--hypervisor-parameters", metavar="NAME=VALUE,…")
    parser.add_argument("-O", "--os-parameters", metavar="NAME=VALUE,…")
    parser.add_argument("--os-parameters-private", metavar="NAME=VALUE,…")
    parser.add_argument(
        "-t", "--disk-template", metavar="TEMPLATE", help="mirror or file; nothing else with it"
    )
    parser.add_argument(
        "-n", "--node", metavar="NODE[:NODE…]", help="with -t mirror: where replicas go"
    )
    parser.add_argument("-o", "--os-type", metavar="OS[+VARIANT]", help="without reinstalling")
    parser.add_argument("--force-variant", action="store_true", help="accept undeclared variants")
    _devices(parser)
    parser.add_argument("--no-conflicts-check", action="store_true", help="addresses may be taken")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--offline", action="store_true", default=None, help="set it aside: it cannot be started"
    )
    where.add_argument("--online", dest="offline", action="store_false", help="bring it back")
    ganeti_options.without_effect(parser, "--ignore-ipolicy", "--no-wait-for-sync", "--no-hotplug")
    shared.force(parser, "do not check against the node's memory")
    shared.job(parser)


def _devices(parser: argparse.ArgumentParser) -> None:
    """NICs and disks."""
    parser.add_argument(
        "--net",
        action="append",
        default=[],
        metavar="N:[modify,]NAME=VALUE,… | add:… | N:remove",
        help="change, add or remove a NIC; can be given several times",
    )
    parser.add_argument(
        "--disk",
        action="append",
        default=[],
        metavar="N:[modify,]name=…,mode=rw|ro | add:size=SIZE,… | N:remove",
        help="change, add or remove a disk, with all that is on it; can be given several times",
    )
    parser.add_argument(
        "--hotplug",
        action="store_true",
        help="disks come to the guest that runs, and go from it, at the end",
    )


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    if arguments.disk_template:
        return jobs.modify(arguments, "instance", _conversion(arguments))
    if arguments.node:
        raise Usage("-n is for -t mirror", "such as -t mirror -n node2")
    operation: dict[str, Any] = {
        "OP_ID": "OP_INSTANCE_SET_PARAMS",
        "instance_name": arguments.name,
        "beparams": values.key_values(arguments.backend_parameters or "", "-B"),
        "hvparams": values.key_values(arguments.hypervisor_parameters or "", "-H"),
        "osparams": values.texts(arguments.os_parameters or "", "-O"),
        "osparams_private": values.texts(
            arguments.os_parameters_private or "", "--os-parameters-private"
        ),
        "nics": values.nic_changes(arguments.net),
        "disks": values.disk_changes(arguments.disk),
        "hotplug": arguments.hotplug,
        "conflicts_check": not arguments.no_conflicts_check,
        "force": arguments.force,
        "force_variant": arguments.force_variant,
    }
    if arguments.os_type:
        operation["os_name"] = arguments.os_type
    if arguments.offline is not None:
        operation["offline"] = arguments.offline
    return jobs.modify(arguments, "instance", operation)


def _conversion(arguments: argparse.Namespace) -> dict[str, Any]:
    """Another disk template, alone."""
    others = (
        *("backend_parameters", "hypervisor_parameters", "os_parameters", "os_parameters_private"),
        *("os_type", "net", "disk", "offline", "hotplug"),
    )
    given = [name for name in others if getattr(arguments, name)]
    if given:
        raise Usage(f"-t goes with nothing else: --{given[0].replace('_', '-')}")
    nodes = [name for name in (arguments.node or "").split(":") if name]
    found: dict[str, Any] = {
        "OP_ID": "OP_INSTANCE_SET_PARAMS",
        "instance_name": arguments.name,
        "disk_template": arguments.disk_template,
    }
    if nodes:
        found |= {"remote_node": nodes[0], "remote_nodes": nodes[1:]}
    return found
