"""``gnt-job autoarchive``."""

from __future__ import annotations

import argparse
import sys

from gantry.cli import jobs
from gantry.cli.errors import Usage
from gantry.client.connection import Connection

EXAMPLES = """
gnt-job autoarchive 1d        (what ended more than a day ago; also 30m, 6h, 4w, all)
"""
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def options(parser: argparse.ArgumentParser) -> None:
    """How old."""
    parser.add_argument("age", metavar="AGE")


def run(arguments: argparse.Namespace) -> int:
    """Put them away and say how many."""
    count = Connection().post("jobs/archive", {"age": seconds(arguments.age)})["count"]
    if arguments.json:
        jobs.write_json({"archived": count})
    else:
        sys.stdout.write(f"Archived {count} jobs\n")
    return 0


def seconds(text: str) -> float:
    """An age such as ``6h``, or Usage."""
    if text == "all":
        return 0.0
    number, unit = (text[:-1], text[-1]) if text[-1:].isalpha() else (text, "")
    if not (number.isascii() and number.isdecimal() and len(number) < 10) or unit not in _UNITS:
        raise Usage(f"{text!r} is not an age", "such as 30m, 6h, 1d, 4w, or all")
    return float(int(number) * _UNITS[unit])
