"""``gnt-cluster repair``."""

from __future__ import annotations

import argparse
import sys

from gantry.cli import confirm, jobs, table, together
from gantry.cli import options as shared

EXAMPLES = """
gnt-cluster verify            (shows everything that is wrong, with the commands that mend it)
gnt-cluster repair --show     (shows what could be mended without losing anything)
gnt-cluster repair            (does that, once you say yes)
gnt-cluster repair --dry-run  (tries each of these jobs, and shows which scripts would run)
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Whether anything is done."""
    parser.add_argument("--show", action="store_true", help="only show what would be done")
    shared.force(parser)
    shared.steps(parser)


def run(arguments: argparse.Namespace) -> int:
    """Look, ask, and submit one job for each."""
    arguments.submit, arguments.print_jobid, as_json = False, False, arguments.json
    # Looking changes nothing, and a trial of looking would find nothing.
    tried, arguments.dry_run = arguments.dry_run, "no"
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
    if tried == "no":
        confirm.ask(f"Mend {'these' if len(found) > 1 else 'this'}?", arguments.force)
    arguments.dry_run = tried
    wanted = [(one["what"], [one["operation"]]) for one in found]
    ended, status = together.run(arguments, wanted, as_json)
    if as_json:
        jobs.write_json(ended)
    elif not status:
        jobs.tell_trial(arguments)
    return status
