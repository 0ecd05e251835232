"""Several jobs of one command, side by side."""

from __future__ import annotations

from gantry.cli import errors, jobs
from gantry.cli import options as shared
from gantry.client.connection import Connection
from gantry.client.errors import ApiError
from gantry.client.jobs import submission

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    Operations = list[dict[str, Any]]


def run(
    arguments: argparse.Namespace, wanted: list[tuple[str, Operations]], quiet: bool
) -> tuple[list[dict[str, Any]], int]:
    """Submit one job for each of ``wanted`` (what it is about, its operations), and wait for all.

    Gives the summaries of those that ended, and the exit status: one that is refused or fails
    holds up no other.
    """
    connection, worst = Connection(), 0
    submitted: list[tuple[str, int]] = []
    for what, operations in wanted:
        body = submission(operations, **shared.submission(arguments))
        try:
            submitted.append((what, jobs.submit(connection, body, quiet)))
        except ApiError as error:
            worst = errors.report(error, quiet)
    ended = []
    for what, number in submitted:
        job = jobs.watch(number, quiet)
        worst = max(worst, jobs.verdict(job, quiet, f"{what}: "))
        if job is None:
            # Whoever leaves one leaves them all; they go on.
            break
        ended.append({"what": what, **jobs.summary(job)})
    return ended, worst
