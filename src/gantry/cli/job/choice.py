"""Which jobs a command means: numbers, or all in some state."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from gantry.cli import confirm, errors, jobs
from gantry.cli import options as shared
from gantry.cli.errors import Usage
from gantry.client.connection import Connection
from gantry.client.errors import ApiError

_STATES = {
    "pending": ("queued", "waiting"),
    "queued": ("queued",),
    "waiting": ("waiting",),
}


def options(parser: argparse.ArgumentParser) -> None:
    """Numbers or states."""
    parser.add_argument("numbers", nargs="*", type=shared.job_number, metavar="JOB")
    for name in _STATES:
        parser.add_argument(f"--{name}", action="store_true", help=f"all {name} jobs")
    parser.add_argument("-f", "--force", action="store_true", help="do not ask")


def select(arguments: argparse.Namespace, verb: str) -> list[int]:
    """The jobs meant; asks where they were chosen by state."""
    states = {state for name in _STATES if getattr(arguments, name) for state in _STATES[name]}
    if bool(states) == bool(arguments.numbers):
        raise Usage("give job numbers, or one of --pending, --queued, --waiting")
    if not states:
        return list(arguments.numbers)
    rows = Connection().get("query/job", fields="id,status")["rows"]
    found = [number for number, status in rows if status in states]
    if found:
        confirm.ask(f"{verb} {len(found)} job(s): {', '.join(map(str, found))}?", arguments.force)
    return found


def each(arguments: argparse.Namespace, verb: str, act: Callable[[Connection, int], str]) -> int:
    """``act`` on every job meant, and say what it answers; 1 where one was refused."""
    connection, worst = Connection(), 0
    done: list[dict[str, object]] = []
    for number in select(arguments, verb):
        try:
            said = act(connection, number)
        except ApiError as error:
            worst = errors.report(error, arguments.json)
            continue
        done.append({"job": number, "message": said})
        if not arguments.json:
            sys.stdout.write(said + "\n")
    if arguments.json:
        jobs.write_json(done)
    return worst
