"""``gnt-job watch``."""

from __future__ import annotations

import argparse

from gantry.cli import jobs
from gantry.cli import options as shared

EXAMPLES = """
gnt-job watch 7
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which one."""
    parser.add_argument("number", type=shared.job_number, metavar="JOB")


def run(arguments: argparse.Namespace) -> int:
    """Show the log from its beginning; the exit status is the job's."""
    job = jobs.watch(arguments.number, as_json=arguments.json)
    if job is not None and arguments.json:
        jobs.write_json(jobs.summary(job))
    return jobs.verdict(job, arguments.json)
