"""Options that many commands share, under the names that users of Ganeti know."""

from __future__ import annotations

import argparse
import os
import pwd
from collections.abc import Sequence
from typing import Any

from gantry.cli.errors import Usage

_DASHED = ("--net", "--disk")
PRIORITIES = {"low": 10, "normal": 0, "high": -10}


def listing(parser: argparse.ArgumentParser, what: str) -> None:
    """Of every ``list``."""
    parser.add_argument("names", nargs="*", metavar=what.upper(), help=f"show only these {what}s")
    parser.add_argument(
        "-o", "--output", metavar="FIELDS", help="fields to show; +FIELD,… adds to the usual ones"
    )
    parser.add_argument("--no-headers", action="store_true", help="leave the titles out")
    parser.add_argument("--separator", metavar="TEXT", help="between columns, instead of aligning")
    parser.add_argument("--units", choices="hmgt", help="sizes for people (h), or in MiB, GiB, TiB")
    parser.add_argument(
        "-F", "--filter", action="store_true", help="the argument is a filter expression"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="words for missing values")


def job(parser: argparse.ArgumentParser, dry_run: bool = True) -> None:
    """Of every command that submits a job."""
    parser.add_argument("--submit", action="store_true", help="print the job's id, do not wait")
    parser.add_argument("--print-jobid", action="store_true", help="print the job's id first")
    parser.add_argument(
        "--priority", choices=PRIORITIES, default="normal", help="which jobs go first"
    )
    parser.add_argument("--reason", metavar="TEXT", help="why; kept with the job")
    if dry_run:
        parser.add_argument(
            "--dry-run",
            nargs="?",
            const="yes",
            default="no",
            choices=("no", "yes", "hooks"),
            help="only check; =hooks also runs the pre scripts, which are told",
        )


def plain(argv: Sequence[str]) -> list[str]:
    """``argv`` in words that argparse understands as users of Ganeti mean them.

    ``--dry-run NAME`` has no value of its own, and that of ``--net -1:remove`` begins with a
    dash.
    """
    found: list[str] = []
    words = iter(argv)
    for word in words:
        if word == "--":
            return [*found, word, *words]
        if word == "--dry-run":
            word = "--dry-run=yes"
        found.append(f"{found.pop()}={word}" if found and found[-1] in _DASHED else word)
    return found


def force(parser: argparse.ArgumentParser, what: str = "do not ask") -> None:
    """``-f``."""
    parser.add_argument("-f", "--force", action="store_true", help=what)


def yes_no(text: str) -> bool:
    """The type of options such as ``--offline=yes``."""
    if text.lower() in ("yes", "y", "true", "on", "1"):
        return True
    if text.lower() in ("no", "n", "false", "off", "0"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither yes nor no")


def submission(arguments: argparse.Namespace) -> dict[str, Any]:
    """The parts of a submission that the shared options say."""
    from time import time_ns

    reason = getattr(arguments, "reason", None)
    source = f"gnt:client:{arguments.program}:{arguments.command}"
    trail = [[source, reason or "", time_ns()]]
    return {
        "priority": PRIORITIES[getattr(arguments, "priority", "normal")],
        "dry_run": getattr(arguments, "dry_run", "no"),
        "reason": trail,
        "requester": user(),
    }


def user() -> str:
    """Who runs the command."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def given(arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Those of the named arguments that were given, for an operation's fields."""
    return {
        name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None
    }


def exactly(names: list[str], count: int, what: str) -> list[str]:
    """``names`` if there are so many, else Usage."""
    if len(names) != count:
        raise Usage(f"give {count} {what}, not {len(names)}")
    return names
