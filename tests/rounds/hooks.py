"""Hooks on every node that write down what they were told, and what must hold of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from tests.support.fleet import Fleet

from gantry.hooks.record import CANCELLED, INTERRUPTED

OPERATIONS = ("instance-add", "instance-start", "instance-stop", "instance-modify",
              "instance-remove")  # fmt: skip
SCRIPTS = {"pre": ["50-told"], "post": ["50-told"], "fail": ["50-told", "60-told"]}
"""Of a failure two are told, since an agent may die between them."""
_FILE = "var/log/told"
_SCRIPT = r"""#!/bin/sh
# One write with O_APPEND is one line, whoever writes beside it.
printf '{"job":%s,"run":"%s","attempt":%s,"script":"%s","path":"%s",'\
'"phase":"%s","name":"%s","node":"NODE"}\n' \
    "$GANTRY_JOB" "$GANTRY_RUN_ID" "$GANTRY_ATTEMPT" "${0##*/}" "$GANETI_HOOKS_PATH" \
    "$GANETI_HOOKS_PHASE" "$GANETI_INSTANCE_NAME" >> "$GANTRY_ROOT/FILE"
case "$GANETI_HOOKS_PHASE/$GANETI_INSTANCE_NAME" in
    pre/denied-*|PRE/denied-*) echo "this name is denied"; exit 1 ;;
esac
"""


@dataclass(frozen=True)
class Told:
    """One script's line; ``place`` counts the lines of its node."""

    job: int
    run: str
    attempt: int
    path: str
    phase: str
    name: str
    node: str
    place: int
    script: str = "50-told"


@dataclass(frozen=True)
class Record:
    """What a node's agent recorded of a fail script; ``serial`` counts the node's records.

    ``whole``: it was not ended by its agent's end, or for a cancelled job.
    """

    job: int
    attempt: int
    node: str
    script: str
    serial: int
    whole: bool


def put(fleet: Fleet) -> None:
    """The scripts, on every node."""
    for machine in fleet.machines:
        (machine.root / _FILE).parent.mkdir(parents=True, exist_ok=True)
        text = _SCRIPT.replace("NODE", machine.name).replace("FILE", _FILE)
        for operation in OPERATIONS:
            for phase, names in SCRIPTS.items():
                place = machine.root / "etc/ganeti/hooks" / f"{operation}-{phase}.d"
                place.mkdir(parents=True, exist_ok=True)
                for name in names:
                    (place / name).write_text(text)
                    (place / name).chmod(0o755)


def told(root: Path) -> list[Told]:
    """What one node's scripts wrote, in its order."""
    file = root / _FILE
    lines = file.read_text().splitlines() if file.exists() else []
    found = [Told(**json.loads(line), place=place) for place, line in enumerate(lines)]
    # Version 1 of the interface says it in capitals.
    return [replace(one, phase=one.phase.lower()) for one in found]


def recorded(root: Path) -> list[Record]:
    """What one node's agent has recorded of fail scripts, in its order."""
    file = root / "var/lib/gantry/hooks.db"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT serial, run FROM runs ORDER BY serial").fetchall()
    return [
        Record(
            job=run["job"],
            attempt=run.get("attempt", 1),
            node=run["node"],
            script=run["result"]["script"],
            serial=serial,
            whole=run["result"].get("problem") not in (INTERRUPTED, CANCELLED),
        )
        for serial, run in ((serial, json.loads(run)) for serial, run in rows)
        if run["phase"] == "fail"
    ]


def inconsistencies(lines: Iterable[Told], denied: Iterable[int]) -> list[str]:
    """What is wrong with the story, in words; ``denied`` are jobs that a script denied."""
    found: list[str] = []
    denied = set(denied)
    by_job: dict[int, list[Told]] = {}
    for line in lines:
        by_job.setdefault(line.job, []).append(line)
    for job, told_of in by_job.items():
        runs = {line.run for line in told_of}
        if len(runs) != 1 or not all(runs):
            found.append(f"job {job} was told under several run ids: {sorted(runs)}")
        post = [line for line in told_of if line.phase == "post"]
        if job in denied and post:
            found.append(f"job {job} was denied and its post scripts ran: {post[0]}")
        fail = [line for line in told_of if line.phase == "fail"]
        if post and fail:
            found.append(f"job {job} has post scripts and fail scripts: {post[0]}, {fail[0]}")
        found += _attempts(job, told_of)
    return found


def unasked(lines: Iterable[Told]) -> set[int]:
    """Jobs of whose end scripts were told and of whose beginning none: a node was away then."""
    lines = list(lines)
    pre = {one.job for one in lines if one.phase == "pre"}
    return {one.job for one in lines if one.phase == "post"} - pre


def untold(lines: Iterable[Told], failed: Iterable[int]) -> set[tuple[int, str]]:
    """Failed jobs, and nodes that ran their pre scripts and not all of their fail scripts."""
    lines, failed = list(lines), set(failed)
    asked = {(one.job, one.node) for one in lines if one.phase == "pre" and one.job in failed}
    done = {(one.job, one.node, one.script) for one in lines if one.phase == "fail"}
    return {one for one in asked if not {(*one, name) for name in SCRIPTS["fail"]} <= done}


def repeated(lines: Iterable[Told], records: Iterable[Record]) -> list[str]:
    """Fail scripts that ran again although their node had recorded what came of them."""
    found = []
    known: dict[tuple[int, str, str], Record] = {}
    for record in sorted(records, key=lambda one: (one.node, one.serial)):
        key = record.job, record.node, record.script
        if key in known:
            found.append(f"{record} after {known[key]}")
        elif record.whole:
            known[key] = record
    for line in lines:
        before = known.get((line.job, line.node, line.script))
        if line.phase == "fail" and before is not None and line.attempt > before.attempt:
            found.append(f"{line} after {before}")
    return found


def _attempts(job: int, lines: list[Told]) -> list[str]:
    """On one node no attempt comes before an earlier one, and none is made twice of a script."""
    found = []
    last: dict[tuple[str, str, str], int] = {}
    for line in sorted(lines, key=lambda one: (one.node, one.place)):
        key = line.node, line.phase, line.script
        before = last.get(key, 0)
        if line.attempt <= before:
            found.append(
                f"job {job} on {line.node}, {line.phase}: attempt {line.attempt} after {before}"
            )
        last[key] = max(before, line.attempt)
    return found
