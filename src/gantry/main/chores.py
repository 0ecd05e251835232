"""What an active master does now and then: old jobs are put away, the state is copied."""

from __future__ import annotations

import asyncio
import datetime
import logging
from pathlib import Path
from typing import Final

from gantry.host import memory
from gantry.jobs.queue import Engine
from gantry.main import backups
from gantry.model.errors import GantryError
from gantry.ports.store import Store
from gantry.supervision.hook_runs import HookRuns

logger = logging.getLogger("gantry.master")

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_LOOK: Final = 10
"""Minutes between two looks for runs of hooks."""
_ARCHIVE_AFTER: Final = 6 * _HOUR


async def chores(engine: Engine, root: Path, store: Store, runs: HookRuns) -> None:
    """Once an hour: put old things away; once a day: copy the state, keep a week of copies.

    Every minute: give memory back that long lists and many jobs at once have left free. Every
    ten: ask for runs of hooks that nobody told of.
    """
    while True:
        try:
            await engine.auto_archive(_ARCHIVE_AFTER)
            await backups.daily(root, datetime.datetime.now(datetime.UTC), store)
            await runs.prune()
        except GantryError as error:
            logger.warning("the daily chores: %s", error)
        for minute in range(int(_HOUR / _MINUTE)):
            memory.give_back()
            await asyncio.sleep(_MINUTE)
            if minute % _LOOK == _LOOK - 1:
                runs.look(engine.snapshot())
