"""What must hold after a round, read from outside: the API, the nodes' files and logs."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.rounds import hooks
from tests.rounds.clients import Promise
from tests.rounds.cluster import Rig
from tests.support.cluster import eventually
from tests.support.namespaces import Machine

_log = logging.getLogger(__name__)
SETTLE = 120.0
"""Seconds in which a healed cluster must be at rest, on a busy machine."""
TIDYINGS = 4
"""Times that an operator looks again whether all is tidy."""
_ENDED = ("success", "error", "canceled")
_BEGUN = re.compile(r"time=(\S+) .* begun effect=(\S+) epoch=(\d+)$")
_FINDING = re.compile(r"- (?:ERROR|WARNING):(\w+):\w+:([^:]+):(.*)")
_NEW = re.compile(r"time=(\S+) .* new epoch=(\d+)$")


@dataclass(frozen=True)
class Line:
    """A line of an agent's log: an effect begun, or (without one) an epoch first heard of."""

    node: int
    moment: datetime
    epoch: int
    effect: str = ""


def rows(rig: Rig, program: str, fields: str, *more: str) -> list[dict[str, Any]] | None:
    """A listing, from the first node that gets an answer; None where nobody does now."""
    for machine in rig.fleet.machines:
        done = machine.run(program, "list", "--json", "-o", fields, *more)
        if done.status == 0:
            found: list[dict[str, Any]] = json.loads(done.stdout)
            return found
    return None


def settled(rig: Rig) -> list[dict[str, Any]]:
    """Wait until every node is heard and every job has ended; the jobs."""
    rig.fleet.all_serve()

    def look() -> list[dict[str, Any]] | None:
        nodes = rows(rig, "gnt-node", "name,dtotal")
        if nodes is None or any(row["dtotal"] is None for row in nodes):
            return None
        jobs = rows(rig, "gnt-job", "id,status,summary")
        if jobs is None or any(row["status"] not in _ENDED for row in jobs):
            return None
        return jobs

    return eventually("every node is heard and every job has ended", look, timeout=SETTLE) or []


def promises_kept(
    promises: Iterable[Promise], jobs: Sequence[dict[str, Any]], since: float = 0.0
) -> None:
    """No acknowledged job is lost; ``since``: those before were known to the copy restored."""
    known = {row["id"] for row in jobs}
    lost = [one for one in promises if one.job not in known and one.moment >= since]
    assert not lost, lost


def world_agrees(rig: Rig) -> None:
    """Records, disks and guests say the same."""

    def look() -> bool:
        found = rows(rig, "gnt-instance", "name,pnode,status")
        if found is None:
            return False
        wanted = {(row["name"], row["pnode"].partition(".")[0]) for row in found}
        calm = all(row["status"] in ("running", "ADMIN_down") for row in found)
        return calm and wanted == _disks(rig)

    def why() -> str:
        found = rows(rig, "gnt-instance", "name,pnode,status")
        said = rig.fleet.machine(rig.master()).run("gnt-cluster", "verify").said
        return f"instances {found}, disks {sorted(_disks(rig))}; verify: {said}"

    try:
        eventually("disks and guests are as the records say", look, timeout=SETTLE)
    except AssertionError as error:
        raise AssertionError(f"{error}: {why()}") from None
    machine = rig.fleet.machine(rig.master())
    assert json.loads(machine.must("gnt-debug", "locks", "--json")) == []
    done = machine.run("gnt-cluster", "verify")
    assert done.status == 0, done.said


def tidy(rig: Rig) -> None:
    """What an operator does after an older state was brought back, as verify says it."""
    for _ in range(TIDYINGS):
        machine = rig.fleet.machine(rig.master())
        done = machine.run("gnt-cluster", "verify", "--error-codes")
        wrong = _FINDING.findall(done.stdout)
        if not wrong:
            assert done.status == 0, done.said
            return
        for code, item, message in wrong:
            _mend(rig, machine, code, item, message)


def _mend(rig: Rig, machine: Machine, code: str, item: str, message: str) -> None:
    match code:
        case "ENODEORPHANINSTANCE" | "EINSTANCEWRONGNODE":
            command = re.search(r"gnt-node end-guest (\S+) (\S+)", message)
            assert command, message
            machine.run("gnt-node", "end-guest", "-f", "--shutdown-timeout=1", *command.groups())
        case "ENODEORPHANLV":
            number = int(item.removeprefix("node").partition(".")[0])
            path = rig.fleet.machine(number).root / message.split()[0].lstrip("/")
            path.unlink(missing_ok=True)
        case "EINSTANCEMISSINGDISK" | "EINSTANCEDOWN":
            machine.run("gnt-instance", "remove", "-f", "--shutdown-timeout=1", item)


def _disks(rig: Rig) -> set[tuple[str, str]]:
    return {
        (path.parent.name, f"node{machine.number}")
        for machine in rig.fleet.machines
        for path in machine.root.glob("srv/ganeti/file-storage/*/*.disk0")
    }


def journal(machine_root: Path, number: int) -> list[Line]:
    """What the agent of a node began, and for whom; the oldest first."""
    found = []
    for path in sorted(machine_root.glob("var/log/gantry/agent.log*"), reverse=True):
        for line in path.read_text(errors="replace").splitlines():
            if begun := _BEGUN.match(line):
                moment = datetime.fromisoformat(begun[1])
                found.append(Line(number, moment, int(begun[3]), begun[2]))
            elif new := _NEW.match(line):
                found.append(Line(number, datetime.fromisoformat(new[1]), int(new[2])))
    return found


def one_master_at_a_time(journals: Sequence[Sequence[Line]], *, fenced: bool) -> None:
    """No agent does anything for an older master once it has heard of a newer one.

    ``fenced``: nor does any agent once another one has done something for a newer master, for
    that one was only elected when the time of the older one was over.
    """
    for lines in journals:
        highest = 0
        for line in lines:
            assert line.epoch >= highest, f"epoch {line.epoch} after {highest}: {line}"
            highest = line.epoch
    if not fenced:
        return
    highest, which = 0, None
    for line in sorted((one for lines in journals for one in lines if one.effect), key=_moment):
        assert line.epoch >= highest, f"{line} began after {which}"
        if line.epoch > highest:
            highest, which = line.epoch, line


def _moment(line: Line) -> tuple[datetime, int]:
    # Of lines of the same millisecond the older epoch is taken as the earlier one.
    return line.moment, line.epoch


def consistent_story(rig: Rig, jobs: Sequence[dict[str, Any]]) -> None:
    """What the hooks were told fits together, and to what became of the jobs."""
    lines = _lines(rig)
    denied = [row["id"] for row in jobs if "(denied-" in row["summary"]]
    assert not (wrong := hooks.inconsistencies(lines, denied)), wrong
    for job in sorted(hooks.unasked(lines)):
        assert "could not run its pre scripts" in (log := _log_of(rig, job)), (job, log)
    by_job = {row["id"]: row for row in jobs}
    for row in jobs:
        if "(denied-" in row["summary"]:
            assert row["status"] == "error", row
    for line in lines:
        if line.job in by_job and line.phase in ("post", "fail"):
            succeeded = by_job[line.job]["status"] == "success"
            assert succeeded == (line.phase == "post"), (line, by_job[line.job])
    _failures_told(rig, lines, by_job)


def _failures_told(
    rig: Rig, lines: Sequence[hooks.Told], jobs: Mapping[int, dict[str, Any]]
) -> None:
    """Where an operation failed, every node that was asked heard of it, and only once."""
    failed = [number for number, row in jobs.items() if row["status"] != "success"]
    for job, node in sorted(hooks.untold(lines, failed)):
        log = _log_of(rig, job)
        assert f"node {node} could not run its fail scripts" in log, (node, log)
    records = _records(rig)
    _log.info("%d fail scripts, %d of them whole", len(records), sum(one.whole for one in records))
    assert not (again := hooks.repeated(lines, records)), again


def forget(rig: Rig) -> None:
    """What hooks were told so far is not looked at again: some of those jobs are lost.

    Numbers of lost jobs are given again, so that not even the next ones fit to it.
    """
    known = [row["id"] for row in settled(rig)]
    told = [line.job for line in _lines(rig)] + [record.job for record in _records(rig)]
    rig.told_from = max([*known, *told]) + 1


def _lines(rig: Rig) -> list[hooks.Told]:
    found = [line for machine in rig.fleet.machines for line in hooks.told(machine.root)]
    return [line for line in found if line.job >= rig.told_from]


def _records(rig: Rig) -> list[hooks.Record]:
    found = [one for machine in rig.fleet.machines for one in hooks.recorded(machine.root)]
    return [one for one in found if one.job >= rig.told_from]


def _log_of(rig: Rig, job: int) -> str:
    return rig.fleet.machine(rig.master()).must("gnt-job", "info", str(job))
