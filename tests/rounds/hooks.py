"""Hooks on every node that write down what they were told, and what must hold of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.support.fleet import Fleet

OPERATIONS = ("instance-add", "instance-start", "instance-stop", "instance-modify",
              "instance-remove")  # fmt: skip
_FILE = "var/log/told"
_SCRIPT = r"""#!/bin/sh
# One write with O_APPEND is one line, whoever writes beside it.
printf '{"job":%s,"run":"%s","attempt":%s,"path":"%s","phase":"%s","name":"%s","node":"%s"}\n' \
    "$GANTRY_JOB" "$GANTRY_RUN_ID" "$GANTRY_ATTEMPT" "$GANETI_HOOKS_PATH" \
    "$GANETI_HOOKS_PHASE" "$GANETI_INSTANCE_NAME" "NODE" >> "$GANTRY_ROOT/FILE"
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


def put(fleet: Fleet) -> None:
    """The scripts, on every node."""
    for machine in fleet.machines:
        (machine.root / _FILE).parent.mkdir(parents=True, exist_ok=True)
        text = _SCRIPT.replace("NODE", machine.name).replace("FILE", _FILE)
        for operation in OPERATIONS:
            for phase in ("pre", "post"):
                place = machine.root / "etc/ganeti/hooks" / f"{operation}-{phase}.d"
                place.mkdir(parents=True, exist_ok=True)
                script = place / "50-told"
                script.write_text(text)
                script.chmod(0o755)


def told(root: Path) -> list[Told]:
    """What one node's scripts wrote, in its order."""
    file = root / _FILE
    lines = file.read_text().splitlines() if file.exists() else []
    found = [Told(**json.loads(line), place=place) for place, line in enumerate(lines)]
    # Version 1 of the interface says it in capitals.
    return [replace(one, phase=one.phase.lower()) for one in found]


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
        pre = [line for line in told_of if line.phase == "pre"]
        post = [line for line in told_of if line.phase == "post"]
        if post and not pre:
            found.append(f"job {job} has post scripts and no pre scripts: {post[0]}")
        if job in denied and post:
            found.append(f"job {job} was denied and its post scripts ran: {post[0]}")
        found += _attempts(job, told_of)
    return found


def _attempts(job: int, lines: list[Told]) -> list[str]:
    """On one node no attempt comes before an earlier one, and none is made twice in a phase."""
    found = []
    last: dict[tuple[str, str], int] = {}
    for line in sorted(lines, key=lambda one: (one.node, one.place)):
        before = last.get((line.node, line.phase), 0)
        if line.attempt <= before:
            found.append(
                f"job {job} on {line.node}, {line.phase}: attempt {line.attempt} after {before}"
            )
        last[line.node, line.phase] = max(before, line.attempt)
    return found
