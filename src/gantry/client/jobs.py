"""The body of ``POST jobs``. Standard library only, as little of it as can be."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def submission(ops: Sequence[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """A job of ``ops`` (each with its ``OP_ID``), with a random ``request_id``.

    ``fields`` are those of a submission: ``priority``, ``depends``, ``reason``, ``dry_run``,
    ``secrets``; None leaves one out. A command that runs in a hook or OS script of a job says
    so (``$GANTRY_JOB``).
    """
    body: dict[str, Any] = {"ops": list(ops), "request_id": os.urandom(16).hex()}
    body.update((name, value) for name, value in fields.items() if value is not None)
    job = os.environ.get("GANTRY_JOB", "")
    if job.isascii() and job.isdecimal():
        body["within_job"] = int(job)
    return body
