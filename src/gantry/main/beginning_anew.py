"""Replacing a process that has an event loop, without losing a signal that has just come."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, NoReturn

from gantry.main.bell import replace_process

logger = logging.getLogger("gantry.master")

_TURNS: Final = 3
"""Of the event loop, after which it has heard of every signal that had come."""


async def begin_anew(ended: asyncio.Event, ready: int | None = None) -> NoReturn:
    """Replace the process; one that was told to end meanwhile ends instead (SystemExit)."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    if ended.is_set():
        logger.info("ending")
        raise SystemExit(0)
    replace_process(ready)
