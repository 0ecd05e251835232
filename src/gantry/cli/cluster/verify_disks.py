"""``gnt-cluster verify-disks``."""

from __future__ import annotations

import argparse
import json
import sys

from gantry.cli import errors, ganeti_options, jobs
from gantry.cli import options as shared

EXAMPLES = """
gnt-cluster verify-disks      (are all disks there and as recorded, and all replicas in sync)
gnt-cluster verify            (that, and everything else)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which ones."""
    parser.add_argument("-g", "--node-group", metavar="GROUP", help="a group, which must exist")
    ganeti_options.without_effect(parser, "--no-strict")
    shared.job(parser)


def run(arguments: argparse.Namespace) -> int:
    """Submit it; exit status 1 where something is wrong."""
    operation = {"OP_ID": "OP_CLUSTER_VERIFY_DISKS"}
    if arguments.node_group:
        operation["group_name"] = arguments.node_group
    job, status = jobs.wait_for(arguments, [operation])
    if job is None:
        return status
    if arguments.json:
        sys.stdout.write(json.dumps(jobs.summary(job)) + "\n")
    passed = all(op.get("result") for op in job["ops"])
    return status if passed else errors.FAILURE
