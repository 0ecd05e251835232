"""The bounds of a ledger of hook scripts: what is forgotten, and what one answer holds."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw
import msgspec

from gantry.agent import told
from gantry.agent.ledger_file import last_serial
from gantry.host.outputs import MOST
from gantry.model.hook_orders import ScriptResult


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How long runs are kept (days), how many, and how much of their output (MiB)."""

    days: float = 90.0
    runs: int = 100_000
    output: int = 512


USUAL: Final = Bounds()
_MOST_OF_PAGE: Final = 4 * 1024 * 1024
"""Bytes of the runs in one answer; verdicts may be long."""


def forget(database: apsw.Connection, bounds: Bounds, now: float) -> list[str]:
    """First outputs, then runs, of what is too old or too much; the directories that may go."""
    before = now - bounds.days * 86400.0
    most = bounds.output * 1024 * 1024
    least = last_serial(database) - bounds.runs
    with database:
        database.execute("DELETE FROM runs WHERE started < ? OR serial <= ?", (before, least))
        gone = list(
            database.execute(
                "SELECT id, outputs FROM phases WHERE started < ?"
                " AND NOT EXISTS (SELECT 1 FROM runs WHERE phase = phases.id)",
                (now - 86400.0,),
            )
        )
        database.executemany("DELETE FROM phases WHERE id = ?", [(one,) for one, _ in gone])
        told.forget(database)
        large = list(
            database.execute(
                "SELECT id, outputs FROM (SELECT id, outputs, sum(size) OVER (ORDER BY id DESC)"
                " AS so_far FROM phases WHERE size > 0) WHERE so_far > ?",
                (most,),
            )
        )
        database.executemany(
            "UPDATE phases SET size = 0 WHERE id = ?", [(one,) for one, _ in large]
        )
    return [name for _, name in (*gone, *large)]


def size_kept(result: ScriptResult) -> int:
    """Bytes of its output that are kept."""
    streams = (result.stdout, result.stderr)
    return sum(min(one.size, MOST) for one in streams if one.file)


def size_of(directory: Path) -> int:
    """Bytes of all that is kept there."""
    try:
        return sum(one.stat().st_size for one in directory.iterdir())
    except OSError:
        return 0


def fitting(rows: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """As many as an answer may have, at least one."""
    room = _MOST_OF_PAGE
    for number, (_, data) in enumerate(rows):
        room -= len(data)
        if room < 0:
            return rows[: max(number, 1)]
    return rows
