"""Submitting an operation that submits jobs of its own, and following these."""

from __future__ import annotations

import argparse
import sys

from gantry.cli import jobs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def run(
    arguments: argparse.Namespace,
    operation: dict[str, Any],
    sentence: Callable[[int, int], str] | None = None,
) -> int:
    """Submit the operation and wait for it, then for its jobs; 1 where one of them fails.

    ``sentence`` is said last, of how many succeeded and how many there were.
    """
    job, status = jobs.wait_for(arguments, [operation])
    if job is None:
        return status
    [result] = jobs.summary(job)["results"]
    if status or not isinstance(result, dict) or "jobs" not in result:
        # It failed; or it was tried, and there is nothing that it would submit.
        if arguments.json:
            jobs.write_json(jobs.summary(job))
        return status
    numbers = [answer for fine, answer in result["jobs"] if fine]
    refused = [answer for fine, answer in result["jobs"] if not fine]
    ended = _follow(arguments, numbers)
    worst = 1 if refused else 0
    for one in ended:
        worst = max(worst, jobs.verdict(one, arguments.json, f"Job {one['id']} has failed: "))
    if len(ended) < len(numbers):
        return jobs.verdict(None)
    if arguments.json:
        found = [{**jobs.summary(one), "summary": list(one["summary"])} for one in ended]
        jobs.write_json({"jobs": found, "refused": refused})
        return worst
    if sentence is not None:
        done = sum(one["status"] == "success" for one in ended)
        sys.stdout.write(sentence(done, len(numbers) + len(refused)) + "\n")
    return worst


def _follow(arguments: argparse.Namespace, numbers: list[int]) -> list[dict[str, Any]]:
    """All of them, which run side by side; fewer where the operator leaves."""
    ended: list[dict[str, Any]] = []
    for number in numbers:
        if not arguments.json:
            sys.stdout.write(f"Waiting for job {number} ...\n")
            sys.stdout.flush()
        job = jobs.watch(number, arguments.json)
        if job is None:
            break
        ended.append(job)
    return ended
