"""``gnt-instance rename``."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from gantry.cli import jobs, values
from gantry.cli import options as shared

EXAMPLES = """
gnt-instance rename web1 www.example.com
gnt-instance rename --no-name-check web1 www.example.com
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which one, its new name, and what is checked of that."""
    parser.add_argument("name", metavar="INSTANCE", help="it must be stopped")
    parser.add_argument("new_name", metavar="NEW_NAME")
    for name, text in (("name", "the new name resolves"), ("ip", "nothing answers at its address")):
        parser.add_argument(
            f"--{name}-check", action=argparse.BooleanOptionalAction, default=None, help=text
        )
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Rename it."""
    operation: dict[str, Any] = {
        "OP_ID": "OP_INSTANCE_RENAME",
        "instance_name": arguments.name,
        "new_name": values.host_name(arguments.new_name, "the new name of an instance"),
        "debug_level": arguments.debug,
        **shared.given(arguments, "name_check", "ip_check"),
    }
    job, status = jobs.wait_for(arguments, [operation])
    if arguments.json and job is not None:
        jobs.write_json(jobs.summary(job))
    elif job is not None and status == 0 and arguments.dry_run == "no":
        [result] = jobs.summary(job)["results"]
        sys.stdout.write(f"Instance '{arguments.name}' renamed to '{result}'\n")
    return status
