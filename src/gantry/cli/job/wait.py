"""``gnt-job wait``."""

from __future__ import annotations

import argparse

from gantry.cli import jobs

EXAMPLES = """
gnt-job wait 7 && echo done
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which one."""
    parser.add_argument("number", type=int, metavar="JOB")


def run(arguments: argparse.Namespace) -> int:
    """Wait; the exit status is the job's."""
    job = jobs.watch(arguments.number, quiet=True)
    return 0 if job is None else jobs.verdict(job, arguments.json)
