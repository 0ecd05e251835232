"""Options of the commands that make an instance: ``gnt-instance add`` and ``gnt-backup import``."""

from __future__ import annotations

import argparse
from typing import Any

from gantry.cli import ganeti_options, secrets, values
from gantry.cli import options as shared
from gantry.cli.errors import Usage


def disk_options(parser: argparse.ArgumentParser, templates: str) -> None:
    """What its disks are like."""
    disk = parser.add_argument_group("disks")
    disk.add_argument("-t", "--disk-template", metavar="TEMPLATE", help=templates)
    disk.add_argument("-s", "--os-size", metavar="SIZE", help="the one disk's size, such as 10G")
    disk.add_argument(
        "--disk",
        action="append",
        default=[],
        metavar="N:size=SIZE,…",
        help="also mode=rw|ro, name=, format=raw|qcow2, on_degraded=wait|continue, "
        "resync_rate=MIB a second (both mirror); once for each disk",
    )
    disk.add_argument("--file-storage-dir", metavar="DIR", help="below the cluster's directory")
    disk.add_argument("--file-driver", metavar="DRIVER", help="loop")


def os_parameters(system: Any) -> None:
    """What its OS definition is told; ``system`` is a group of options."""
    system.add_argument(
        "-O", "--os-parameters", metavar="NAME=VALUE,…", help="what differs from the cluster's"
    )
    system.add_argument(
        "--os-parameters-private", metavar="NAME=VALUE,…", help="the same, shown to nobody"
    )
    system.add_argument("--os-parameters-secret", metavar="…", help=secrets.HELP)
    system.add_argument("--force-variant", action="store_true", help="accept undeclared variants")


def place_options(parser: argparse.ArgumentParser, nics: str) -> Any:
    """Where it is and what it has, as a group; ``nics`` says what each ``--net`` is."""
    place = parser.add_argument_group("where and what")
    place.add_argument(
        "-n",
        "--node",
        metavar="NODE[:SECONDARY…]",
        help="default: most free memory that fits; secondaries are for -t mirror",
    )
    ganeti_options.no_iallocator(parser)
    place.add_argument(
        "-g", "--node-group", dest="group_name", metavar="GROUP", help="there is one: default"
    )
    place.add_argument(
        "-B",
        "--backend-parameters",
        metavar="memory=SIZE,vcpus=N,…",
        help="what differs from the cluster's",
    )
    place.add_argument(
        "-H",
        "--hypervisor-parameters",
        metavar="HYPERVISOR[:NAME=VALUE,…]",
        help="which one, and what differs from the cluster's",
    )
    place.add_argument(
        "--net",
        action="append",
        default=[],
        metavar="N:NAME=VALUE,…",
        help=f"ip=, mac=, mode=bridged|user, link=, name=; {nics}",
    )
    place.add_argument("--no-nics", action="store_true", help="no network card at all")
    place.add_argument("--tags", metavar="TAG,…", help="its tags")
    return place


def checks(parser: argparse.ArgumentParser) -> None:
    """What is looked at before."""
    group = parser.add_argument_group("checks")
    for name, text in (("name", "the name resolves"), ("ip", "nothing answers at its address")):
        group.add_argument(
            f"--{name}-check", action=argparse.BooleanOptionalAction, default=None, help=text
        )
    group.add_argument("--no-conflicts-check", action="store_true", help="addresses may be taken")
    ganeti_options.without_effect(
        parser, "--ignore-ipolicy", "--no-wait-for-sync", "--opportunistic-locking"
    )


def fields(arguments: argparse.Namespace) -> dict[str, Any]:
    """What these options say, but for the NICs; Usage where they do not make sense."""
    found: dict[str, Any] = {
        "OP_ID": "OP_INSTANCE_CREATE",
        "instance_name": values.host_name(arguments.name, "the name of an instance"),
        "disks": _disks(arguments),
        "beparams": values.key_values(arguments.backend_parameters or "", "-B"),
        "osparams": values.texts(arguments.os_parameters or "", "-O"),
        "osparams_private": values.texts(
            arguments.os_parameters_private or "", "--os-parameters-private"
        ),
        "force_variant": arguments.force_variant,
        "conflicts_check": not arguments.no_conflicts_check,
        "tags": [tag for tag in (arguments.tags or "").split(",") if tag],
    }
    if arguments.no_nics and arguments.net:
        raise Usage("give --net or --no-nics, not both")
    if arguments.node:
        found |= nodes(arguments.node)
    if arguments.hypervisor_parameters:
        name, parameters = values.headed(arguments.hypervisor_parameters, "-H")
        found.update(hypervisor=name, hvparams=parameters)
    return found | shared.given(
        arguments,
        "disk_template",
        "file_driver",
        "file_storage_dir",
        "name_check",
        "ip_check",
        "iallocator",
        "group_name",
    )


def nodes(text: str) -> dict[str, Any]:
    """``primary``, or ``primary:secondary`` and more of them for mirrored disks."""
    primary, *others = text.split(":")
    if not all((primary, *others)):
        raise Usage(f"-n {text!r}: the name of a node is missing", "such as -n node1:node2")
    found: dict[str, Any] = {"pnode": primary}
    if others:
        found["snode"] = others[0]
    if others[1:]:
        found["snodes"] = others[1:]
    return found


def _disks(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    if arguments.os_size and arguments.disk:
        raise Usage("give -s or --disk, not both")
    if arguments.os_size:
        return [{"size": values.size(arguments.os_size, "the size of disk 0")}]
    return values.disks(arguments.disk)
