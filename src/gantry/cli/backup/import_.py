"""``gnt-backup import``."""

from __future__ import annotations

import argparse
from typing import Any

from gantry.cli import jobs, secrets, values
from gantry.cli import options as shared
from gantry.cli.errors import Usage

EXAMPLES = """
gnt-backup import -n node1 --src-node node2 web1.example.com
gnt-backup import -n node1 --src-node node2 --src-dir web1.example.com copy.example.com
gnt-backup import -n node3 -t sharedfile -B memory=2G web1.example.com
gnt-backup import -n node1 -s 20G --net 0:mac=auto,link=br1 web1.example.com
"""


def options(parser: argparse.ArgumentParser) -> None:
    """What is not given is as in the export."""
    parser.add_argument("name", metavar="NAME", help="of the instance to be made")
    source = parser.add_argument_group("the export")
    source.add_argument("--src-node", metavar="NODE", help="where it is (default: found)")
    source.add_argument(
        "--src-dir", metavar="DIR", help="its directory (default: NAME), such as the old name"
    )
    source.add_argument(
        "--compress",
        metavar="KIND",
        default="none",
        help="on the way: none, gzip, gzip-fast, gzip-slow, lzop, zstd",
    )
    source.add_argument(
        "--identify-defaults",
        action="store_true",
        help="parameters that are as the cluster has them stay the cluster's",
    )
    _disks_and_system(parser)
    _place(parser)
    shared.job(parser)


def _disks_and_system(parser: argparse.ArgumentParser) -> None:
    disk = parser.add_argument_group("disks")
    disk.add_argument("-t", "--disk-template", metavar="TEMPLATE", help="file, sharedfile")
    disk.add_argument("-s", "--os-size", metavar="SIZE", help="the one disk's size, such as 10G")
    disk.add_argument(
        "--disk",
        action="append",
        default=[],
        metavar="N:size=SIZE,…",
        help="also mode=rw|ro, name=, format=raw|qcow2; once for each disk",
    )
    disk.add_argument("--file-storage-dir", metavar="DIR", help="below the cluster's directory")
    disk.add_argument("--file-driver", metavar="DRIVER", help="loop")
    system = parser.add_argument_group("operating system")
    system.add_argument("-O", "--os-parameters", metavar="NAME=VALUE,…")
    system.add_argument("--os-parameters-private", metavar="NAME=VALUE,…")
    system.add_argument("--os-parameters-secret", metavar="…", help=secrets.HELP)
    system.add_argument("--force-variant", action="store_true", help="accept undeclared variants")


def _place(parser: argparse.ArgumentParser) -> None:
    place = parser.add_argument_group("where and what")
    place.add_argument("-n", "--node", metavar="NODE", help="default: most free memory that fits")
    place.add_argument("-B", "--backend-parameters", metavar="memory=SIZE,vcpus=N,…")
    place.add_argument("-H", "--hypervisor-parameters", metavar="HYPERVISOR[:NAME=VALUE,…]")
    place.add_argument(
        "--net",
        action="append",
        default=[],
        metavar="N:NAME=VALUE,…",
        help="ip=, mac=, mode=bridged|user, link=, name=; once for each NIC, instead of all",
    )
    place.add_argument("--no-nics", action="store_true", help="no network card at all")
    place.add_argument("--tags", metavar="TAG,…")
    checks = parser.add_argument_group("checks")
    for name, text in (("name", "the name resolves"), ("ip", "nothing answers at its address")):
        checks.add_argument(
            f"--{name}-check", action=argparse.BooleanOptionalAction, default=None, help=text
        )
    checks.add_argument("--no-conflicts-check", action="store_true", help="addresses may be taken")
    shared.without_effect(
        parser, "--ignore-ipolicy", "--no-wait-for-sync", "--opportunistic-locking"
    )
    shared.without_effect(
        parser, "--helper-startup-timeout", "--helper-shutdown-timeout", value=True
    )


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    secret = secrets.read(arguments.os_parameters_secret)
    return jobs.run(arguments, [operation(arguments)], [secret] if secret else [])


def operation(arguments: argparse.Namespace) -> dict[str, Any]:
    """The operation's fields; Usage where the options do not make sense."""
    found: dict[str, Any] = {
        "OP_ID": "OP_INSTANCE_CREATE",
        "mode": "import",
        "instance_name": values.host_name(arguments.name, "the name of an instance"),
        "compress": arguments.compress,
        "identify_defaults": arguments.identify_defaults,
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
    if arguments.no_nics or arguments.net:
        found["nics"] = values.nics(arguments.net)
    if arguments.hypervisor_parameters:
        name, parameters = values.headed(arguments.hypervisor_parameters, "-H")
        found.update(hypervisor=name, hvparams=parameters)
    renamed = {"pnode": arguments.node, "src_path": arguments.src_dir}
    given = shared.given(
        arguments,
        "src_node",
        "disk_template",
        "file_driver",
        "file_storage_dir",
        "name_check",
        "ip_check",
    )
    return {**found, **given, **{name: value for name, value in renamed.items() if value}}


def _disks(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    if arguments.os_size and arguments.disk:
        raise Usage("give -s or --disk, not both")
    if arguments.os_size:
        return [{"size": values.size(arguments.os_size, "the size of disk 0")}]
    return values.disks(arguments.disk)
