"""Which scripts have been told of a failure: what is recorded of them is not done again.

Only of phases of fail scripts; those of other phases run again in each attempt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypeAlias

import apsw
import msgspec

from gantry.agent.ledger_file import last_serial
from gantry.hooks.record import CANCELLED, INTERRUPTED
from gantry.host.outputs import MOST, text
from gantry.model.hook_orders import HooksRun, ScriptResult, ScriptStatus
from gantry.model.hook_runs import HookRun

Told: TypeAlias = dict[tuple[str, str], ScriptResult]
"""By directory and name of the script."""

_SUFFIX: Final = "-fail.d"
_run: msgspec.json.Decoder[HookRun] = msgspec.json.Decoder(HookRun)


def of_failure(order: HooksRun) -> bool:
    """Whether it is a phase of fail scripts."""
    return any(one.name.endswith(_SUFFIX) for one in order.directories)


def note(database: apsw.Connection, phase: int, order: HooksRun) -> None:
    """That phase begins: a later attempt is to find what is recorded in it."""
    database.execute(
        "INSERT OR REPLACE INTO failures(phase, run_id, after) VALUES(?,?,?)",
        (phase, order.run_id, last_serial(database)),
    )


def forget(database: apsw.Connection) -> None:
    """What belongs to phases that are no longer kept: their numbers may be given again."""
    database.execute("DELETE FROM failures WHERE phase NOT IN (SELECT id FROM phases)")


def results(database: apsw.Connection, outputs: Path, order: HooksRun) -> Told:
    """What earlier attempts have recorded of this order's scripts, with their output.

    Without those that were passed over, or were ended before they had done their work.
    """
    names = {one.name for one in order.directories if one.name.endswith(_SUFFIX)}
    rows = database.execute(
        # CROSS JOIN: in this order, or all runs there are would be looked through.
        "SELECT run, outputs FROM failures CROSS JOIN phases ON phases.id = failures.phase"
        " CROSS JOIN runs ON runs.phase = failures.phase AND runs.serial > failures.after"
        " WHERE failures.run_id = ? ORDER BY runs.serial",
        (order.run_id,),
    )
    found: Told = {}
    room = MOST
    for data, place in rows:
        result = _run.decode(data).result
        if result.directory not in names or not _counts(result):
            continue
        output = _output(outputs / place, result) if room > 0 else ""
        room -= len(output)
        found[result.directory, result.script] = msgspec.structs.replace(result, output=output)
    return found


def _counts(result: ScriptResult) -> bool:
    ended_by_us = result.problem in {INTERRUPTED, CANCELLED}
    return result.status is not ScriptStatus.SKIPPED and not ended_by_us


def _output(directory: Path, result: ScriptResult) -> str:
    try:
        parts = [text(directory, stream) for stream in (result.stdout, result.stderr)]
    except OSError:
        return ""
    return "".join(part or "" for part in parts)
