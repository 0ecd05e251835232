"""Submitting jobs and showing what they say while the operator waits."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

from gantry.cli import errors, options
from gantry.client.connection import Connection
from gantry.client.errors import MasterDown
from gantry.client.jobs import submission

_ENDED: Final = ("success", "error", "canceled")
_YELLOW: Final = "\033[33m"
_GREY: Final = "\033[2m"
_PLAIN: Final = "\033[0m"
_QUESTION: Final = (
    "\n[c]ancel job {job}, [l]eave it running and go, or [w]ait on? (default: leave) "
)


def run(
    arguments: argparse.Namespace,
    operations: Iterable[dict[str, Any]],
    secrets: Iterable[dict[str, str]] = (),
) -> int:
    """Submit one job; wait for it with its live log unless ``--submit``; the exit status."""
    job, status = wait_for(arguments, operations, secrets)
    if arguments.json and job is not None:
        sys.stdout.write(json.dumps(summary(job)) + "\n")
    return status


def wait_for(
    arguments: argparse.Namespace,
    operations: Iterable[dict[str, Any]],
    secrets: Iterable[dict[str, str]] = (),
) -> tuple[dict[str, Any] | None, int]:
    """The same, with the job as it ended: None where nobody waited for it."""
    body = submission(list(operations), secrets=list(secrets), **options.submission(arguments))
    connection = Connection()
    if arguments.submit:
        number = connection.post("jobs", body)["job"]
        sys.stdout.write(json.dumps({"job": number}) + "\n" if arguments.json else f"{number}\n")
        return None, 0
    stream = connection.stream("POST", "jobs?follow=1", body)
    number = next(stream)["job"]
    if arguments.print_jobid:
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
    job = _follow(connection, number, stream, arguments.json)
    return (job, verdict(job, arguments.json)) if job is not None else (None, 0)


def watch(number: int, as_json: bool = False, quiet: bool = False) -> dict[str, Any] | None:
    """Follow a job that there is already; None where the operator left it running."""
    connection = Connection()
    stream = connection.stream("GET", f"jobs/{number}/follow?after=0")
    return _follow(connection, number, stream, as_json or quiet)


def verdict(job: dict[str, Any], as_json: bool = False) -> int:
    """The exit status of an ended job; why it failed goes to stderr."""
    if job["status"] == "success":
        return 0
    found = [op["error"] for op in job["ops"] if op.get("error")]
    if as_json:
        return errors.FAILURE
    for one in found:
        sys.stderr.write(errors.failure(one) + "\n")
    if not found:
        sys.stderr.write(f"Job {job['id']} was cancelled\n")
    return errors.FAILURE


def summary(job: dict[str, Any]) -> dict[str, Any]:
    """What ``--json`` shows of an ended job."""
    return {
        "job": job["id"],
        "status": job["status"],
        "results": [op.get("result") for op in job["ops"]],
        "errors": [op["error"] for op in job["ops"] if op.get("error")],
    }


def _follow(
    connection: Connection, number: int, stream: Iterator[dict[str, Any]], quiet: bool
) -> dict[str, Any] | None:
    shown = _Shown(quiet)
    while True:
        try:
            return _show(stream, shown)
        except KeyboardInterrupt:
            again = _interrupted(connection, number, shown.serial)
            if again is None:
                return None
            stream = again


class _Shown:
    """How far the log has been written, so that it can be followed on."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.serial = 0

    def write(self, entries: Iterable[dict[str, Any]]) -> None:
        """Write these lines, unless nothing is to be shown."""
        for entry in entries:
            self.serial = max(self.serial, entry["serial"])
            if not self.quiet:
                sys.stdout.write(line(entry) + "\n")
        sys.stdout.flush()


def _show(stream: Iterator[dict[str, Any]], shown: _Shown) -> dict[str, Any]:
    """Write lines as they come; the job when it has ended."""
    job: dict[str, Any] = {}
    waiting = ""
    for change in stream:
        shown.write(change.get("entries", ()))
        job = change.get("job") or job
        now_waiting = ", ".join(job.get("waiting_for", ()))
        if job.get("status") == "waiting" and now_waiting != waiting and not shown.quiet:
            sys.stderr.write(f"waiting for {now_waiting}\n")
        waiting = now_waiting
        if job.get("status") in _ENDED:
            return job
    raise MasterDown("the master went away while the job was running", "see gnt-job list")


def line(entry: dict[str, Any]) -> str:
    """One line of a job's log, as Ganeti's commands show it."""
    when = time.ctime(entry["time"])
    text, kind = entry["text"], entry["kind"]
    if kind == "warning":
        shown = text if text.startswith("  - ") else f" - WARNING: {text}"
        return _coloured(f"{when} {shown}", _YELLOW)
    if kind in ("script", "progress"):
        return _coloured(f"{when}   | {text}", _GREY)
    return f"{when} {text}"


def _coloured(text: str, colour: str) -> str:
    return f"{colour}{text}{_PLAIN}" if sys.stdout.isatty() else text


def _interrupted(
    connection: Connection, number: int, serial: int
) -> Iterator[dict[str, Any]] | None:
    """Ctrl-C: what shall become of the job? None: leave it; otherwise the stream to go on with."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        sys.stderr.write(f"\njob {number} goes on: gnt-job watch {number}\n")
        raise KeyboardInterrupt
    sys.stderr.write(_QUESTION.format(job=number))
    sys.stderr.flush()
    answer = sys.stdin.readline().strip().lower()[:1]
    if answer == "c":
        said = connection.post(f"jobs/{number}/cancel", {"kill": True})["message"]
        sys.stderr.write(said + "\n")
    elif answer != "w":
        sys.stderr.write(f"job {number} goes on: gnt-job watch {number}\n")
        return None
    return connection.stream("GET", f"jobs/{number}/follow?after={serial}")
