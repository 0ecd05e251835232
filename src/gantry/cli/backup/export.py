"""``gnt-backup export``."""

from __future__ import annotations

import argparse

from gantry.cli import ganeti_options, jobs
from gantry.cli import options as shared

EXAMPLES = """
gnt-backup export -n node2 web1
gnt-backup export -n node2 --noshutdown web1
gnt-backup export -n node2 --transport-compression=zstd web1
gnt-backup export -n node2 --incremental web1         (only what has changed since the last one)
gnt-backup export -n node2 --remove-instance web1     (it goes once its export is safe)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """What, and where to."""
    parser.add_argument("name", metavar="INSTANCE", help="a running one is stopped meanwhile")
    parser.add_argument(
        "-n", "--node", required=True, metavar="NODE", help="the node that keeps the export"
    )
    parser.add_argument(
        "--transport-compression",
        metavar="KIND",
        default="none",
        help="on the way: none, gzip, gzip-fast, gzip-slow, lzop, zstd",
    )
    parser.add_argument("--noshutdown", action="store_true", help="do not stop a running instance")
    parser.add_argument(
        "--incremental",
        action="store_true",
        help="add a point to the export that is there, with what has changed since; a running "
        "instance is not stopped",
    )
    parser.add_argument(
        "--shutdown-timeout",
        type=int,
        default=120,
        metavar="SECONDS",
        help="after which it is powered off (120)",
    )
    parser.add_argument("--remove-instance", action="store_true", help="remove it after the export")
    parser.add_argument(
        "--ignore-remove-failures",
        action="store_true",
        help="a disk that cannot be removed then is only a warning (it always is)",
    )
    parser.add_argument(
        "--checksums",
        action="store_true",
        help="read the dumps again for their checksums, for gnt-backup verify",
    )
    parser.add_argument(
        "--zero-free-space",
        action="store_true",
        help="refused: let the guest discard it (fstrim), and it is left out",
    )
    ganeti_options.without_effect(parser, "--force", "--long-sleep")
    ganeti_options.without_effect(
        parser, "--zeroing-timeout-fixed", "--zeroing-timeout-per-mib", value=True
    )
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it."""
    operation = {
        "OP_ID": "OP_BACKUP_EXPORT",
        "instance_name": arguments.name,
        "target_node": arguments.node,
        "compress": arguments.transport_compression,
        "shutdown": not arguments.noshutdown,
        "shutdown_timeout": arguments.shutdown_timeout,
        "remove_instance": arguments.remove_instance,
        "ignore_remove_failures": arguments.ignore_remove_failures,
        "checksums": arguments.checksums,
        "incremental": arguments.incremental,
        "zero_free_space": arguments.zero_free_space,
    }
    return jobs.run(arguments, [operation])
