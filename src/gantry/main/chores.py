"""What an active master does now and then: old jobs are put away, the state is copied."""

from __future__ import annotations

import asyncio
import datetime
import logging
from pathlib import Path
from typing import Final

from gantry.host import memory
from gantry.jobs.queue import Engine
from gantry.model.errors import GantryError
from gantry.store import backup
from gantry.supervision.hook_runs import HookRuns

logger = logging.getLogger("gantry.master")

BACKUPS: Final = "backups"
_HOUR: Final = 3600.0
_ARCHIVE_AFTER: Final = 6 * _HOUR


async def chores(engine: Engine, state: Path, runs: HookRuns) -> None:
    """Once an hour: put old things away; once a day: copy the state, keep a week of copies."""
    while True:
        memory.give_back()
        try:
            await engine.auto_archive(_ARCHIVE_AFTER)
            await runs.prune()
            if state.exists():
                await asyncio.to_thread(_back_up, state)
        except GantryError as error:
            logger.warning("the daily chores: %s", error)
        await asyncio.sleep(_HOUR)


def _back_up(state: Path) -> None:
    now, directory = datetime.datetime.now(datetime.UTC), state.parent / BACKUPS
    if backup.is_due(backup.list_backups(directory), now):
        backup.backup(state, directory, now)
        for old in backup.surplus(backup.list_backups(directory)):
            backup.remove(old)
