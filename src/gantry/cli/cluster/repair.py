"""``gnt-cluster repair``."""

from __future__ import annotations

import argparse
import sys

from gantry.cli import confirm, errors, jobs, table
from gantry.cli import options as shared
from gantry.client.connection import Connection
from gantry.client.errors import ApiError
from gantry.client.jobs import submission

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXAMPLES = """
gnt-cluster verify            (shows everything that is wrong, with the commands that mend it)
gnt-cluster repair --show     (shows what could be mended without losing anything)
gnt-cluster repair            (does that, once you say yes)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Whether anything is done."""
    parser.add_argument("--show", action="store_true", help="only show what would be done")
    shared.force(parser)
    group = parser.add_argument_group("the jobs")
    group.add_argument(
        "--priority", choices=shared.PRIORITIES, default="normal", help="which jobs go first"
    )


def run(arguments: argparse.Namespace) -> int:
    """Look, ask, and submit one job for each."""
    arguments.submit, arguments.print_jobid, as_json = False, False, arguments.json
    arguments.json = False
    job, status = jobs.wait_for(arguments, [{"OP_ID": "OP_CLUSTER_FIND_REPAIRS"}])
    if job is None or status:
        return status
    found = job["ops"][0].get("result") or []
    if as_json and (arguments.show or not found):
        jobs.write_json(found)
    elif not as_json:
        sys.stdout.write("".join(f"{table.printable(one['what'])}\n" for one in found))
        sys.stdout.write("" if found else "there is nothing that can be mended by itself\n")
    if arguments.show or not found:
        return 0
    confirm.ask(f"Mend {'these' if len(found) > 1 else 'this'}?", arguments.force)
    return _mend(arguments, found, as_json)


def _mend(arguments: argparse.Namespace, found: list[dict[str, Any]], as_json: bool) -> int:
    """All at once, so that one that cannot be done holds up no other."""
    connection, worst, ended = Connection(), 0, []
    submitted: list[tuple[dict[str, Any], int]] = []
    for one in found:
        body = submission([one["operation"]], **shared.submission(arguments))
        try:
            submitted.append((one, jobs.submit(connection, body, as_json)))
        except ApiError as error:
            worst = errors.report(error, as_json)
    for one, number in submitted:
        job = jobs.watch(number, as_json)
        worst = max(worst, jobs.verdict(job, as_json, f"{one['what']}: "))
        if job is None:
            break
        ended.append({"what": one["what"], **jobs.summary(job)})
    if as_json:
        jobs.write_json(ended)
    return worst
