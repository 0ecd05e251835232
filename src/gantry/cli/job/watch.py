"""``gnt-job watch``."""

from __future__ import annotations

import argparse
import json
import sys

from gantry.cli import jobs

EXAMPLES = """
gnt-job watch 7
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which one."""
    parser.add_argument("number", type=int, metavar="JOB")


def run(arguments: argparse.Namespace) -> int:
    """Show the log from its beginning; the exit status is the job's."""
    job = jobs.watch(arguments.number, as_json=arguments.json)
    if job is None:
        return 0
    if arguments.json:
        sys.stdout.write(json.dumps(jobs.summary(job)) + "\n")
    return jobs.verdict(job, arguments.json)
