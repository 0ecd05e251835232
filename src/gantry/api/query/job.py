"""What can be listed of jobs. The log is not among it: it is asked for one job at a time."""

from __future__ import annotations

from typing import Any, Final

from gantry.api import redaction
from gantry.api.query.common import attribute, field, or_unavailable
from gantry.api.query.fields import Field, Fields, Kind
from gantry.api.query.view import View
from gantry.model.jobs import Job

DEFAULT: Final = ("id", "status", "summary")


def _each(name: str, title: str, doc: str, attribute_name: str) -> Field[View, Job]:
    return field(
        name,
        title,
        Kind.OTHER,
        doc,
        lambda view, job: [getattr(op, attribute_name) for op in job.ops],
    )


def _time(name: str, title: str, doc: str, attribute_name: str) -> Field[View, Job]:
    return field(
        name,
        title,
        Kind.TIMESTAMP,
        doc,
        lambda view, job: or_unavailable(getattr(job, attribute_name)),
    )


def _results(view: View, job: Job) -> list[Any]:
    return [op.result if op.error is None else {"error": op.error} for op in job.ops]


def _dependencies(view: View, job: Job) -> list[Any]:
    return [[one.job, list(one.statuses)] for one in job.depends]


_ALL: Final[list[Field[View, Job]]] = [
    attribute("id", "ID", Kind.NUMBER, "Number of the job"),
    attribute("status", "Status", Kind.TEXT, "What it is doing"),
    attribute("priority", "Priority", Kind.NUMBER, "From -20 (first) to 19"),
    attribute("archived", "Archived", Kind.BOOL, "Whether it was archived"),
    field(
        "ops",
        "OpCodes",
        Kind.OTHER,
        "Its operations, as they were sent",
        lambda view, job: [redaction.operation(op.input) for op in job.ops],
    ),
    field("opresult", "OpCode_result", Kind.OTHER, "What came of its operations", _results),
    _each("opstatus", "OpCode_status", "What its operations are doing", "status"),
    _each("opstart", "OpCode_start", "When its operations began", "start"),
    _each("opexec", "OpCode_exec", "When its operations had their locks", "execution"),
    _each("opend", "OpCode_end", "When its operations ended", "end"),
    field(
        "oppriority",
        "OpCode_prio",
        Kind.OTHER,
        "The priority of its operations",
        lambda view, job: [job.priority] * len(job.ops),
    ),
    field(
        "summary",
        "Summary",
        Kind.OTHER,
        "What its operations are, in short",
        lambda view, job: list(job.summary),
    ),
    _time("received_ts", "Received", "When it was taken", "received"),
    _time("start_ts", "Start", "When it began", "started"),
    _time("end_ts", "End", "When it ended", "ended"),
    attribute("requester", "Requester", Kind.TEXT, "Who sent it"),
    attribute("attempt", "Attempt", Kind.NUMBER, "How many masters have worked on it"),
    attribute("dry_run", "DryRun", Kind.TEXT, "Whether it only shows what would happen"),
    field(
        "waiting_for",
        "WaitingFor",
        Kind.OTHER,
        "Locks or jobs that it waits for",
        lambda view, job: list(job.waiting_for),
    ),
    field(
        "reason",
        "Reason",
        Kind.OTHER,
        "Who wanted it, and why: source, text, nanoseconds",
        lambda view, job: [list(one) for one in job.reason],
    ),
    field("depends", "Depends", Kind.OTHER, "Jobs that must have ended first", _dependencies),
]
FIELDS: Final[Fields[View, Job]] = Fields("job", DEFAULT, _ALL)
