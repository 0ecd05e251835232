"""``gnt-instance add``."""

from __future__ import annotations

import argparse
from typing import Any

from gantry.cli import jobs, secrets, values
from gantry.cli import options as shared
from gantry.cli.errors import Usage

EXAMPLES = """
gnt-instance add -t file -s 10G -o busybox web1.example.com
gnt-instance add -t file --disk 0:size=10G,name=root --disk 1:size=1G -o debian+bookworm \\
    -n node2 -B memory=2G,vcpus=2 --net 0:link=br0,ip=10.0.0.5 db1.example.com
gnt-instance add -t diskless -o noop --no-install --no-start test1.example.com
gnt-instance add -t file -s 1G -o busybox --net 0:mode=user,ip=10.0.2.15 try.example.com
gnt-instance add -t file -s 10G -o busybox --dry-run web1.example.com
"""


def options(parser: argparse.ArgumentParser) -> None:
    """All of OP_INSTANCE_CREATE that this version does."""
    parser.add_argument("name", metavar="NAME", help="the new instance's host name")
    disk = parser.add_argument_group("disks")
    disk.add_argument(
        "-t", "--disk-template", metavar="TEMPLATE", help="file, sharedfile, diskless"
    )
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
    system.add_argument("-o", "--os-type", metavar="OS[+VARIANT]", help="see gnt-os list")
    system.add_argument("-O", "--os-parameters", metavar="NAME=VALUE,…")
    system.add_argument("--os-parameters-private", metavar="NAME=VALUE,…")
    system.add_argument("--os-parameters-secret", metavar="…", help=secrets.HELP)
    system.add_argument("--force-variant", action="store_true", help="accept undeclared variants")
    system.add_argument(
        "--keep-failed",
        action="store_true",
        help="if the create script fails, keep the instance, down, for a look",
    )
    system.add_argument("--no-install", action="store_true", help="run no create script")
    _place(parser)
    _checks(parser)
    shared.job(parser)


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
        help="ip=, mac=, mode=bridged|user, link=, name=; once for each NIC",
    )
    place.add_argument("--no-nics", action="store_true", help="no network card at all")
    place.add_argument("--tags", metavar="TAG,…")
    place.add_argument("--no-start", action="store_true", help="leave it down")


def _checks(parser: argparse.ArgumentParser) -> None:
    checks = parser.add_argument_group("checks")
    for name, text in (("name", "the name resolves"), ("ip", "nothing answers at its address")):
        checks.add_argument(
            f"--{name}-check", action=argparse.BooleanOptionalAction, default=None, help=text
        )
    checks.add_argument("--no-conflicts-check", action="store_true", help="addresses may be taken")
    shared.without_effect(
        parser, "--ignore-ipolicy", "--no-wait-for-sync", "--opportunistic-locking"
    )


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    secret = secrets.read(arguments.os_parameters_secret)
    return jobs.run(arguments, [operation(arguments)], [secret] if secret else [])


def operation(arguments: argparse.Namespace) -> dict[str, Any]:
    """The operation's fields; Usage where the options do not make sense."""
    found: dict[str, Any] = {
        "OP_ID": "OP_INSTANCE_CREATE",
        "instance_name": values.host_name(arguments.name, "the name of an instance"),
        "mode": "create",
        "disks": _disks(arguments),
        "nics": _nics(arguments),
        "beparams": values.key_values(arguments.backend_parameters or "", "-B"),
        "osparams": values.texts(arguments.os_parameters or "", "-O"),
        "osparams_private": values.texts(
            arguments.os_parameters_private or "", "--os-parameters-private"
        ),
        "force_variant": arguments.force_variant,
        "conflicts_check": not arguments.no_conflicts_check,
        "no_install": arguments.no_install,
        "keep_failed": arguments.keep_failed,
        "start": not arguments.no_start,
        "debug_level": arguments.debug,
        "tags": [tag for tag in (arguments.tags or "").split(",") if tag],
    }
    if arguments.hypervisor_parameters:
        name, parameters = values.headed(arguments.hypervisor_parameters, "-H")
        found.update(hypervisor=name, hvparams=parameters)
    renamed = {"pnode": arguments.node}
    given = shared.given(
        arguments,
        "disk_template",
        "os_type",
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


def _nics(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    if arguments.no_nics:
        if arguments.net:
            raise Usage("give --net or --no-nics, not both")
        return []
    return values.nics(arguments.net) or [{}]
