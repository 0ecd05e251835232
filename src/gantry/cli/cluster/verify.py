"""``gnt-cluster verify``."""

from __future__ import annotations

import argparse
import json
import sys

from gantry.cli import errors, ganeti_options, jobs
from gantry.cli import options as shared

EXAMPLES = """
gnt-cluster verify
gnt-cluster verify --error-codes            (for monitoring: level:code:kind:item:message)
gnt-cluster verify -I ENODEHOOKS
gnt-cluster verify --dry-run                (which scripts of hooks would run, and where)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """How much, and what not to mind."""
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("--error-codes", action="store_true", help="parsable lines")
    parser.add_argument("-g", "--node-group", metavar="GROUP", help="only its nodes")
    parser.add_argument(
        "-I",
        "--ignore-errors",
        action="append",
        default=[],
        metavar="CODE",
        help="make errors of this code warnings",
    )
    ganeti_options.without_effect(
        parser, "--no-nplus1-mem", "--no-hv-param-assessment", "--verify-ssh-clutter"
    )
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it; exit status 1 where something is wrong."""
    operation = {
        "OP_ID": "OP_CLUSTER_VERIFY",
        "verbose": arguments.verbose,
        "error_codes": arguments.error_codes,
        "ignore_errors": arguments.ignore_errors,
    }
    if arguments.node_group:
        operation["group_name"] = arguments.node_group
    job, status = jobs.wait_for(arguments, [operation])
    if job is None:
        return status
    if arguments.json:
        sys.stdout.write(json.dumps(jobs.summary(job)) + "\n")
    passed = all(op.get("result") for op in job["ops"])
    return status if passed else errors.FAILURE
