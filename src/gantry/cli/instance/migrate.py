"""``gnt-instance migrate``."""

from __future__ import annotations

import argparse

from gantry.cli import confirm, ganeti_options, jobs
from gantry.cli import options as shared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXAMPLES = """
gnt-instance migrate web1                         (to the node with the most free memory)
gnt-instance migrate -f -n node3 web1
gnt-instance migrate --non-live web1              (held still meanwhile: sure to come to an end)
gnt-instance migrate --deadline=120 web1          (given up after two minutes; it goes on here)
gnt-instance migrate --allow-failover web1        (one that is stopped is failed over)
gnt-instance migrate --cleanup web1               (move nothing: write down where it runs)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which one, where to, and how."""
    parser.add_argument("name", metavar="INSTANCE", help="it must be running")
    shared.force(parser)
    shared.target_node(parser)
    shared.migration(parser)
    parser.add_argument(
        "--allow-failover", action="store_true", help="fail it over if it does not run"
    )
    parser.add_argument(
        "--cleanup",
        action="store_true",
        help="move nothing: put into the record on which node it runs",
    )
    ganeti_options.without_effect(
        parser, "--ignore-ipolicy", "--ignore-hvversions", "--no-runtime-changes"
    )
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask, then do it."""
    if arguments.dry_run == "no" and not arguments.cleanup:
        confirm.ask(
            f"Instance {arguments.name} will be brought to another node while it runs.\nContinue?",
            arguments.force,
        )
    operation: dict[str, Any] = {
        "OP_ID": "OP_INSTANCE_MIGRATE",
        "instance_name": arguments.name,
        "cleanup": arguments.cleanup,
        "allow_failover": arguments.allow_failover,
        **shared.migrating(arguments),
        **shared.given(arguments, "target_node", "iallocator"),
    }
    return jobs.run(arguments, [operation])
