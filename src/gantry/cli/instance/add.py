"""``gnt-instance add``."""

from __future__ import annotations

import argparse
from typing import Any

from gantry.cli import jobs, new_instance, secrets, values
from gantry.cli import options as shared

EXAMPLES = """
gnt-instance add -t file -s 10G -o busybox web1.example.com
gnt-instance add -t file --disk 0:size=10G,name=root --disk 1:size=1G -o debian+bookworm \\
    -n node2 -B memory=2G,vcpus=2 --net 0:link=br0,ip=10.0.0.5 db1.example.com
gnt-instance add -t mirror -s 10G -o busybox -n node1:node2 safe1.example.com
gnt-instance add -t diskless -o noop --no-install --no-start test1.example.com
gnt-instance add -t file -s 1G -o busybox --net 0:mode=user,ip=10.0.2.15 try.example.com
gnt-instance add -t file -s 10G -O os-image=https://images.example.com/web.qcow2 image.example.com
gnt-instance add -t file -s 10G -o busybox --dry-run web1.example.com
"""


def options(parser: argparse.ArgumentParser) -> None:
    """All of OP_INSTANCE_CREATE that this version does."""
    parser.add_argument("name", metavar="NAME", help="the new instance's host name")
    new_instance.disk_options(parser, "file, sharedfile, mirror, diskless")
    system = parser.add_argument_group("operating system")
    system.add_argument("-o", "--os-type", metavar="OS[+VARIANT]", help="see gnt-os list")
    new_instance.os_parameters(system)
    system.add_argument(
        "--keep-failed",
        action="store_true",
        help="if the create script fails, keep the instance, down, for a look",
    )
    system.add_argument("--no-install", action="store_true", help="run no create script")
    place = new_instance.place_options(parser, "once for each NIC")
    place.add_argument("--no-start", action="store_true", help="leave it down")
    new_instance.checks(parser)
    shared.installation(parser)
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    secret = secrets.read(arguments.os_parameters_secret)
    return jobs.run(arguments, [operation(arguments)], [secret] if secret else [])


def operation(arguments: argparse.Namespace) -> dict[str, Any]:
    """The operation's fields; Usage where the options do not make sense."""
    own = {
        "mode": "create",
        "nics": [] if arguments.no_nics else values.nics(arguments.net) or [{}],
        "no_install": arguments.no_install,
        "keep_failed": arguments.keep_failed,
        "start": not arguments.no_start,
        "debug_level": arguments.debug,
    }
    return (
        new_instance.fields(arguments)
        | own
        | shared.given(arguments, "os_type", "helper_startup_timeout", "helper_shutdown_timeout")
    )
