"""``gnt-instance replace-disks``."""

from __future__ import annotations

import argparse

from gantry.cli import following, ganeti_options, jobs
from gantry.cli import options as shared
from gantry.cli.errors import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXAMPLES = """
gnt-instance replace-disks -n node3 web1          (the secondary's replicas go to node3)
gnt-instance replace-disks -s web1                (made anew on the same secondary node)
gnt-instance replace-disks -s --disks 1 web1      (only that of its second disk)
gnt-instance replace-disks -a web1                (what is stale, or on a node that is away)
gnt-instance replace-disks -p web1                (the primary's; the guest runs on)
gnt-instance replace-disks -n node4 --old-secondary node2 web1
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which ones, and by what."""
    parser.add_argument("name", metavar="INSTANCE", help="its disks are of template mirror")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("-n", "--new-secondary", metavar="NODE", help="they go to this node")
    mode.add_argument(
        "-s", "--on-secondary", action="store_true", help="make them anew where they are"
    )
    mode.add_argument(
        "-a",
        "--auto",
        action="store_true",
        help="what is stale, on a node that is away, or must not be used (the primary's)",
    )
    mode.add_argument(
        "-p",
        "--on-primary",
        action="store_true",
        help="make the primary's anew, from one in sync: by a job that has the instance on that "
        "node meanwhile, and brings it back",
    )
    parser.add_argument("--disks", metavar="N,…", help="with -s or -p: only these")
    parser.add_argument(
        "--old-secondary", metavar="NODE", help="whose replicas, where there are several"
    )
    parser.add_argument(
        "--early-release",
        action="store_true",
        help="with -n: the old ones go at once, not when the new ones are in sync",
    )
    ganeti_options.without_effect(parser, "--ignore-ipolicy")
    ganeti_options.no_iallocator(parser)
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    mode = "replace_auto"
    if arguments.new_secondary:
        mode = "replace_new_secondary"
    elif arguments.on_secondary:
        mode = "replace_on_secondary"
    elif arguments.on_primary:
        mode = "replace_on_primary"
    operation: dict[str, Any] = {
        "OP_ID": "OP_INSTANCE_REPLACE_DISKS",
        "instance_name": arguments.name,
        "mode": mode,
        "disks": _disks(arguments.disks),
        "early_release": arguments.early_release,
        **shared.given(arguments, "iallocator"),
    }
    if arguments.new_secondary:
        operation["remote_node"] = arguments.new_secondary
    if arguments.old_secondary:
        operation["old_node"] = arguments.old_secondary
    if arguments.on_primary or arguments.auto:
        return following.run(arguments, operation)
    return jobs.run(arguments, [operation])


def _disks(text: str | None) -> list[int]:
    parts = [part for part in (text or "").split(",") if part]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise Usage(f"--disks {text!r}: numbers of disks", "such as --disks 0,1")
    return [int(part) for part in parts]
