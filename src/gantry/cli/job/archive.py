"""``gnt-job archive``."""

from __future__ import annotations

import argparse
import sys

from gantry.cli import jobs
from gantry.cli import options as shared
from gantry.client.connection import Connection

EXAMPLES = """
gnt-job archive 7 8 9
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which ones."""
    parser.add_argument("numbers", nargs="+", type=shared.job_number, metavar="JOB")


def run(arguments: argparse.Namespace) -> int:
    """Put them away; exit status 1 where one could not be (it has not ended)."""
    moved = Connection().post("jobs/archive", {"jobs": arguments.numbers})["jobs"]
    left = [number for number in arguments.numbers if number not in moved]
    if arguments.json:
        jobs.write_json({"archived": moved, "left": left})
        return 1 if left else 0
    for number in left:
        sys.stderr.write(f"job {number} was not archived: it has not ended\n")
    return 1 if left else 0
