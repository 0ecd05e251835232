"""``gnt-hook record``."""

from __future__ import annotations

import argparse
import json
import os
import sys

from gantry.cli.errors import Usage
from gantry.cli.hook import recordings
from gantry.client.connection import Connection, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXAMPLES = """
gnt-hook record 5c1f03ab92d4                  (to standard output: > run.json)
gnt-hook record 5c1f --output run.json
gnt-hook record 17 --output job-17.json       (all runs of a job)
gnt-hook replay run.json --script ./20-check
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Which runs."""
    parser.add_argument(
        "what", metavar="RUN|JOB", help="the id of a run (gnt-hook history), or a job's number"
    )
    parser.add_argument("--output", metavar="FILE", help="write it there, for your eyes alone")


def run(arguments: argparse.Namespace) -> int:
    """Write to standard output exactly what they were told; there is nothing secret in it."""
    connection = Connection()
    what: str = arguments.what
    names = _of_job(connection, what) if what.isdecimal() and len(what) < 12 else [what]
    found = [_one(connection, name) for name in names]
    document = {"format": recordings.FORMAT, "runs": found}
    text = json.dumps(document, indent=1) + "\n"
    if arguments.output is None:
        sys.stdout.write(text)
        return 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    with os.fdopen(os.open(arguments.output, flags, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
    return 0


def _of_job(connection: Connection, job: str) -> list[str]:
    answer = connection.get("hooks/runs", job=job, limit="10000")
    fields = [one["name"] for one in answer["fields"]]
    run, script = fields.index("run"), fields.index("script")
    names = [str(row[run]) for row in reversed(answer["rows"]) if _of_script(str(row[script]))]
    if not names:
        raise Usage(
            f"no script ran for job {job}, or none that is known",
            "gnt-hook history --job shows them; a run's id has 12 digits",
        )
    return names


def _of_script(path: str) -> bool:
    """Whether it is one; a policy or a directory that cannot be read has a record as well."""
    return not path.startswith("./") and not path.endswith("/")


def _one(connection: Connection, name: str) -> dict[str, Any]:
    found = connection.get(f"hooks/runs/{quoted(name)}", order="1")
    if not _of_script(found["run"]["script"]):
        raise Usage(
            f"{name} is no run of a script: it says what kept scripts from running",
            f"gnt-hook show {name}; gnt-hook lint",
        )
    if found["order"] is None:
        node = found["run"]["node"]
        raise Usage(
            f"what run {name} was told is on node {node}: {found['problem']}",
            "try again when the node answers",
        )
    return {"run": found["run"], "order": found["order"]}
