"""Options that many commands share, under the names that users of Ganeti know.

Options of one command are in its own file.
"""

from __future__ import annotations

import argparse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PRIORITIES = {"low": 10, "normal": 0, "high": -10}
_YES = ("yes", "y", "true", "on", "1")
_NO = ("no", "n", "false", "off", "0")


def listing(parser: argparse.ArgumentParser, what: str) -> None:
    """Of every ``list``."""
    parser.add_argument("names", nargs="*", metavar=what.upper(), help=f"show only these {what}s")
    parser.add_argument(
        "-o", "--output", metavar="FIELDS", help="fields to show; +FIELD,… adds to the usual ones"
    )
    parser.add_argument("--no-headers", action="store_true", help="leave the titles out")
    parser.add_argument("--separator", metavar="TEXT", help="between columns, instead of aligning")
    parser.add_argument(
        "--units", choices="hmgt", help="sizes for people (h), or in MiB (m), GiB (g), TiB (t)"
    )
    parser.add_argument(
        "-F", "--filter", action="store_true", help="the argument is a filter expression"
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="say in words why a value is missing"
    )


def job(parser: argparse.ArgumentParser) -> None:
    """Of every command that submits a job."""
    group = parser.add_argument_group("the job")
    group.add_argument("--submit", action="store_true", help="print the job's id, do not wait")
    group.add_argument("--print-jobid", action="store_true", help="print the job's id first")
    _how(group)


def steps(parser: argparse.ArgumentParser) -> None:
    """Of commands that submit one job after the other, and so have to wait for them."""
    _how(parser.add_argument_group("the jobs"))


def _how(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--priority", choices=PRIORITIES, default="normal", help="which jobs go first (normal)"
    )
    group.add_argument(
        "--dry-run",
        "--dry-run=yes",
        dest="dry_run",
        action="store_const",
        const="yes",
        default="no",
        help="only check whether it could be done; no script runs",
    )
    # An option of its own, for an optional value would swallow the name that follows.
    group.add_argument(
        "--dry-run=hooks",
        dest="dry_run",
        action="store_const",
        const="hooks",
        help="also run the pre scripts of hooks, which are told",
    )


def force(parser: argparse.ArgumentParser, what: str = "do not ask") -> None:
    """``-f``."""
    parser.add_argument("-f", "--force", action="store_true", help=what)


def shutdown_timeout(parser: argparse.ArgumentParser, name: str = "--shutdown-timeout") -> None:
    """How long a guest may take to shut down."""
    parser.add_argument(
        name,
        type=whole_number,
        default=120,
        metavar="SECONDS",
        help="how long it may take to shut down, before it is powered off (120)",
    )


def yes_no(text: str) -> bool:
    """The type of options such as ``--offline=yes``."""
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither yes nor no")


def whole_number(text: str) -> int:
    """The type of options that are a count or seconds: from 0 on."""
    if text.isascii() and text.isdecimal() and len(text) < 16:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")


def job_number(text: str) -> int:
    """The type of arguments that are jobs."""
    if text.isascii() and text.isdecimal() and len(text) < 16:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not the number of a job: see gnt-job list")


def submission(arguments: argparse.Namespace) -> dict[str, Any]:
    """The parts of a submission that the shared options say."""
    from time import time_ns

    trail = [[f"gnt:client:{arguments.program}", arguments.command, time_ns()]]
    if arguments.reason:
        trail.insert(0, ["gnt:user", arguments.reason, time_ns()])
    return {
        "priority": PRIORITIES[getattr(arguments, "priority", "normal")],
        "dry_run": arguments.dry_run,
        "reason": trail,
    }


def installation(parser: argparse.ArgumentParser) -> None:
    """How long the guest may take in which a script runs that is not trusted."""
    group = parser.add_argument_group("installation guest (of a definition that is not trusted)")
    for name, text in (
        ("startup", "until it has begun with the script (300)"),
        ("shutdown", "from there until it is off again (7200)"),
    ):
        group.add_argument(
            f"--helper-{name}-timeout", type=whole_number, metavar="SECONDS", help=text
        )


def given(arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Those of the named arguments that were given, for an operation's fields."""
    return {
        name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None
    }


def listed(text: str | None) -> list[str]:
    """``a,b`` as a list."""
    return [one.strip() for one in (text or "").split(",") if one.strip()]


def nodes(parser: argparse.ArgumentParser, meaning: str) -> None:
    """``--node``, as often as wanted; ``meaning`` is said in its help."""
    parser.add_argument("-n", "--node", action="append", default=[], metavar="NODE", help=meaning)


def target_node(parser: argparse.ArgumentParser) -> None:
    """``-n`` of commands that move instances, and the allocator that there is not."""
    parser.add_argument(
        "-n",
        "--target-node",
        metavar="NODE",
        help="where to (default: the node with the most free memory)",
    )
    parser.add_argument("-I", "--iallocator", metavar="NAME", help=argparse.SUPPRESS)


def migration(parser: argparse.ArgumentParser) -> None:
    """How guests are migrated."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--non-live", action="store_true", help="hold the guest still while it is sent"
    )
    how.add_argument(
        "--migration-mode",
        choices=("live", "non-live"),
        help="the same, in words (default: the hypervisor parameter migration_mode)",
    )
    parser.add_argument(
        "--deadline",
        type=whole_number,
        metavar="SECONDS",
        help="give up after that, and go on where it is (3600; with local disks 86400)",
    )


def migrating(arguments: argparse.Namespace) -> dict[str, Any]:
    """The same as fields of an operation."""
    mode = "non-live" if arguments.non_live else arguments.migration_mode
    found = {"mode": mode, "deadline": arguments.deadline}
    return {name: value for name, value in found.items() if value is not None}
