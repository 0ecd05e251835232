"""``gnt-job info``."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from gantry.cli import jobs, table
from gantry.cli import options as shared
from gantry.client.connection import Connection

EXAMPLES = """
gnt-job info 7
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which ones."""
    parser.add_argument("numbers", nargs="+", type=shared.job_number, metavar="JOB")


def run(arguments: argparse.Namespace) -> int:
    """Show them with their logs."""
    connection = Connection()
    found = []
    for number in arguments.numbers:
        job = connection.get(f"jobs/{number}")
        job["log"] = connection.get(f"jobs/{number}/log")["entries"]
        found.append(job)
    if arguments.json:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        sys.stdout.write("\n".join(_text(job) for job in found))
    return 0


def _text(job: dict[str, Any]) -> str:
    times = {
        name: table.moment(job[name]) if job.get(name) else None
        for name in ("received", "started", "ended")
    }
    shown = {"status": job["status"], "requester": job.get("requester"), **times}
    if job.get("attempt", 1) > 1:
        shown["attempt"] = job["attempt"]
    shown["reason"] = [" ".join(str(part) for part in one[:2]) for one in job.get("reason", ())]
    shown["operations"] = [
        {name: value for name, value in op.items() if value not in (None, {}, [])}
        for op in job["ops"]
    ]
    log = "".join(f"    {jobs.line(entry)}\n" for entry in job["log"])
    return f"Job ID: {job['id']}\n" + table.document(shown, 1) + (f"  log:\n{log}" if log else "")
