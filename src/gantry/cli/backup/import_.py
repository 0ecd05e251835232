"""``gnt-backup import``."""

from __future__ import annotations

import argparse
from typing import Any

from gantry.cli import ganeti_options, jobs, new_instance, secrets, values
from gantry.cli import options as shared

EXAMPLES = """
gnt-backup import -n node1 --src-node node2 web1.example.com
gnt-backup import -n node1 --src-node node2 --src-dir web1.example.com copy.example.com
gnt-backup import -n node1 --src-node node2 --point 3 web1.example.com
gnt-backup import -n node3 -t sharedfile -B memory=2G web1.example.com
gnt-backup import -n node1:node2 -t mirror web1.example.com
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
        "--point",
        type=int,
        metavar="N",
        dest="src_point",
        help="of an export with several points (default: the last one; gnt-backup list --points)",
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
    new_instance.disk_options(parser, "file, sharedfile, mirror")
    new_instance.os_parameters(parser.add_argument_group("operating system"))
    new_instance.place_options(parser, "once for each NIC, instead of all")
    new_instance.checks(parser)
    ganeti_options.without_effect(
        parser, "--helper-startup-timeout", "--helper-shutdown-timeout", value=True
    )
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    secret = secrets.read(arguments.os_parameters_secret)
    return jobs.run(arguments, [operation(arguments)], [secret] if secret else [])


def operation(arguments: argparse.Namespace) -> dict[str, Any]:
    """The operation's fields; Usage where the options do not make sense."""
    own: dict[str, Any] = {
        "mode": "import",
        "compress": arguments.compress,
        "identify_defaults": arguments.identify_defaults,
    }
    if arguments.no_nics or arguments.net:
        own["nics"] = values.nics(arguments.net)
    if arguments.src_dir:
        own["src_path"] = arguments.src_dir
    return new_instance.fields(arguments) | own | shared.given(arguments, "src_node", "src_point")
