"""How large a job may be and become, so that its record always fits the store; pure.

What a client sends is refused beyond these limits; what a job grows to while it runs is cut.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gantry.model.errors import ErrorInfo, Rejected
from gantry.model.jobs import Job, OpRecord, Submission
from gantry.ports.store import MAX_VALUE_BYTES

MAX_JOB: Final = 128 * 1024
"""Bytes of a job's record when it comes."""
MAX_RECORD: Final = MAX_VALUE_BYTES - 64 * 1024
"""Bytes of a job's record later on."""
MAX_OPS: Final = 200
"""Operations of one job: each one that ends writes the whole record again."""
MAX_REASONS: Final = 50
MAX_REASON: Final = 4 * 1024
"""Characters of each part of a reason."""
MAX_NAME: Final = 256
"""Characters of a request id, and of a requester's name."""
MAX_SECRETS: Final = 64 * 1024
"""Bytes of all secret parameters of a job; they are kept in memory only."""
MAX_ERROR: Final = 8 * 1024
"""Characters of an error's message; an eighth of it for each of its other words."""
MAX_RESULT: Final = 64 * 1024
"""Bytes of one operation's result."""
_SHORT: Final = 400


def check(submission: Submission) -> None:
    """Rejected where a part of the submission is larger than any right one."""
    _at_most(len(submission.ops), MAX_OPS, "operations in one job", "make several jobs of it")
    _at_most(len(submission.depends), MAX_OPS, "jobs that it depends on", "name fewer")
    _at_most(len(submission.reason), MAX_REASONS, "reasons", "name fewer")
    for source, why, _ in submission.reason:
        _at_most(max(len(source), len(why)), MAX_REASON, "characters of a reason", "shorten it")
    for name in (submission.request_id, submission.requester):
        _at_most(len(name), MAX_NAME, "characters of a request's id or author", "shorten it")
    _at_most(len(submission.secrets), MAX_OPS, "groups of secret parameters", "one an operation")
    secrets = len(msgspec.json.encode(submission.secrets)) if any(submission.secrets) else 0
    _at_most(secrets, MAX_SECRETS, "bytes of secret parameters", "shorten them")


def check_size(size: int) -> None:
    """Rejected where the record of a new job has too many bytes."""
    _at_most(size, MAX_JOB, "bytes of a job", "shorten its parameters, or make several jobs of it")


def error(info: ErrorInfo, characters: int = MAX_ERROR) -> ErrorInfo:
    """The error with texts that fit a record."""
    other = characters // 8
    return msgspec.structs.replace(
        info,
        message=text(info.message, characters),
        hint=text(info.hint, other),
        node=text(info.node, other),
        object=text(info.object, other),
    )


def result(value: Any, most: int = MAX_RESULT) -> Any:
    """The result, or a note in place of one that is too large."""
    if value is None or isinstance(value, bool | float):
        return value
    size = len(msgspec.json.encode(value))
    return value if size <= most else f"(a result of {size} bytes is not kept)"


def text(words: str, characters: int) -> str:
    """The words, cut where they are too many."""
    return words if len(words) <= characters else words[: characters - 2] + " …"


def cut_down(job: Job) -> Job:
    """The same job with short results and errors: all that running it does not need."""
    return msgspec.structs.replace(job, waiting_for=(), ops=tuple(map(_short, job.ops)))


def bare(job: Job) -> Job:
    """What is left where even that is too large: how it ended, without what was asked for."""
    return msgspec.structs.replace(
        cut_down(job),
        ops=tuple(_unasked(_short(record)) for record in job.ops[:MAX_OPS]),
        summary=tuple(text(words, _SHORT) for words in job.summary[:MAX_OPS]),
        depends=job.depends[:MAX_OPS],
        reason=(),
        requester=text(job.requester, MAX_NAME),
        request_id=text(job.request_id, MAX_NAME),
    )


def _short(record: OpRecord) -> OpRecord:
    info = None if record.error is None else error(record.error, _SHORT)
    return msgspec.structs.replace(record, result=result(record.result, _SHORT), error=info)


def _unasked(record: OpRecord) -> OpRecord:
    opcode = text(str(record.input.get("OP_ID", "")), _SHORT)
    return msgspec.structs.replace(record, input={"OP_ID": opcode, "cut": "it was too large"})


def _at_most(found: int, most: int, what: str, hint: str) -> None:
    if found > most:
        raise Rejected(f"{found} {what}, at most {most}", hint)
