"""Submitting jobs and showing what they say while the operator waits.

What a job does is the master's business; which operation is submitted, the command's.
"""

from __future__ import annotations

import os
import sys
import time

from gantry.cli import errors, options, searching
from gantry.cli.table import printable
from gantry.client.connection import Connection
from gantry.client.errors import ApiError, ClientError, MasterDown, MasterLost
from gantry.client.jobs import submission

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator
    from typing import Any, Final

    Change = dict[str, Any]

_ENDED: Final = ("success", "error", "canceled")
_YELLOW: Final = "\033[33m"
_GREY: Final = "\033[2m"
_PLAIN: Final = "\033[0m"
_INTERRUPTED: Final = 130
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
        write_json(summary(job))
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
        number = submit(connection, body, arguments.json)
        if arguments.json:
            write_json({"job": number})
        else:
            sys.stdout.write(f"{number}\n")
        return None, 0
    number, stream = searching.persist(lambda: _begun(connection, body), arguments.json)
    if arguments.print_jobid and not arguments.json:
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
    quiet: bool = arguments.json
    job = _Watch(connection, number, quiet=quiet, as_json=quiet).follow(stream)
    if job is not None and job["status"] == "success" and not arguments.json:
        tell_trial(arguments)
    return (job, verdict(job, arguments.json)) if job is not None else (None, _INTERRUPTED)


def submit(connection: Connection, body: dict[str, Any], quiet: bool = False) -> int:
    """Submit a job without waiting for it; its number."""
    number: int = searching.persist(lambda: connection.post("jobs", body)["job"], quiet)
    return number


def _begun(connection: Connection, body: dict[str, Any]) -> tuple[int, Iterator[Change]]:
    stream = connection.stream("POST", "jobs?follow=1", body)
    first = next(stream, None)
    if first is None:
        raise MasterLost("the master went away before it took the job")
    return first["job"], stream


def tell_trial(arguments: argparse.Namespace) -> None:
    """What a dry run that came to its end says last."""
    if arguments.dry_run != "no":
        sys.stdout.write("This could be done. It was only tried: nothing was changed.\n")


def modify(arguments: argparse.Namespace, what: str, operation: dict[str, Any]) -> int:
    """Of the commands whose result is what they changed: it is told as Ganeti tells it."""
    job, status = wait_for(arguments, [operation])
    if job is not None and arguments.json:
        write_json(summary(job))
    if job is None or status or arguments.json or arguments.dry_run != "no":
        return status
    changes = [pair for op in job["ops"] for pair in op.get("result") or ()]
    if changes:
        sys.stdout.write(f"Modified {what} {arguments.name}\n")
    for name, value in changes:
        sys.stdout.write(f" - {name} -> {printable(str(value))}\n")
    return status


def watch(number: int, as_json: bool = False, quiet: bool = False) -> dict[str, Any] | None:
    """Follow a job that there is already; None where the operator left it running."""
    return _Watch(Connection(), number, quiet=as_json or quiet, as_json=as_json).follow()


def verdict(job: dict[str, Any] | None, as_json: bool = False, prefix: str = "") -> int:
    """The exit status of a job, ended or left (None); why it failed goes to stderr."""
    if job is None:
        return _INTERRUPTED
    if job["status"] == "success":
        return 0
    if as_json:
        return errors.FAILURE
    found = [op["error"] for op in job["ops"] if op.get("error")]
    for one in found:
        sys.stderr.write(prefix + errors.failure(one) + "\n")
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


def write_json(value: Any, indent: int | None = None) -> None:
    """One JSON document on stdout."""
    import json

    sys.stdout.write(json.dumps(value, indent=indent) + "\n")


class _Watch:
    """One job, shown until its end or until the operator leaves it."""

    def __init__(self, connection: Connection, number: int, *, quiet: bool, as_json: bool) -> None:
        self._connection = connection
        self._number = number
        self._quiet = quiet
        self._as_json = as_json
        self._seen = 0
        self._status = ""
        self._waiting = ""
        self._search: searching.Search | None = None

    def follow(self, stream: Iterator[Change] | None = None) -> dict[str, Any] | None:
        """The job when it has ended; None where it was left. Its lines go to stdout.

        A master that goes away on the way is waited for, or the one that takes over.
        """
        while True:
            try:
                stream = stream or self._opened()
                return self._show(stream)
            except KeyboardInterrupt:
                if not self._goes_on():
                    return None
            except MasterLost as error:
                self._search = self._search or searching.Search(error, self._as_json)
            except MasterDown as error:
                hint = f"{self._later()}; gnt-job list shows what became of it"
                raise MasterDown(error.message, hint) from error
            except ApiError as error:
                if error.code != "unavailable":
                    raise
                lost = searching.as_lost(error)
                self._search = self._search or searching.Search(lost, self._as_json)
            stream = None

    def _opened(self) -> Iterator[Change]:
        """What the job says from here on, of the master that there is now."""

        def attempt() -> Iterator[Change]:
            return self._connection.stream("GET", f"jobs/{self._number}/follow?after={self._seen}")

        if self._search is None:
            return attempt()
        found = self._search.find(attempt)
        if not self._as_json:
            where = self._connection.peer.name if self._connection.peer else "this node"
            sys.stderr.write(f"job {self._number} goes on: the master is on {where}\n")
            sys.stderr.flush()
        return found

    def _show(self, stream: Iterator[Change]) -> dict[str, Any]:
        for change in stream:
            for entry in change.get("entries", ()):
                self._seen = entry.get("serial", self._seen)
                self._search = None
                if not self._quiet:
                    sys.stdout.write(line(entry) + "\n")
            sys.stdout.flush()
            job: dict[str, Any] = change.get("job") or {}
            if job and job.get("status") != self._status:
                self._status = str(job.get("status"))
                self._search = None
            if job.get("status") == "waiting":
                self._tell_waiting(", ".join(job.get("waiting_for", ())))
            if job.get("status") in _ENDED:
                return job
        raise MasterLost(f"the master went away while job {self._number} was on its way")

    def _tell_waiting(self, now: str) -> None:
        if now and now != self._waiting and not self._quiet:
            sys.stderr.write(f"waiting for {printable(now)}\n")
        self._waiting = now

    def _goes_on(self) -> bool:
        """Ctrl-C: whether to watch on, after asking what shall become of the job."""
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            sys.stderr.write(f"\n{self._later()}\n")
            return False
        sys.stderr.write(_QUESTION.format(job=self._number))
        sys.stderr.flush()
        try:
            answer = sys.stdin.readline().strip().lower()[:1]
        except KeyboardInterrupt:
            answer = "l"
        if answer == "c":
            self._cancel()
        elif answer != "w":
            sys.stderr.write(f"{self._later()}\n")
            return False
        return True

    def _cancel(self) -> None:
        try:
            said = self._connection.post(f"jobs/{self._number}/cancel", {"kill": True})["message"]
        except (ApiError, ClientError) as error:
            said = error.message
        sys.stderr.write(said + "\n")

    def _later(self) -> str:
        return f"job {self._number} goes on: gnt-job watch {self._number}"


def line(entry: dict[str, Any]) -> str:
    """One line of a job's log, as Ganeti's commands show it."""
    when = time.ctime(entry["time"])
    text, kind = printable(entry["text"]), entry["kind"]
    if kind == "warning":
        shown = text if text.startswith("  - ") else f" - WARNING: {text}"
        return _coloured(f"{when} {shown}", _YELLOW)
    if kind in ("script", "progress"):
        return _coloured(f"{when}   | {text}", _GREY)
    return f"{when} {text}"


def _coloured(text: str, colour: str) -> str:
    return f"{colour}{text}{_PLAIN}" if _colours() else text


def _colours() -> bool:
    """Only on a terminal that can, and where the operator has not said no (no-color.org)."""
    return (
        sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "") not in ("", "dumb")
    )
