"""The special hooks directory ``watcher``: run on every node when its agent starts, and then
every five minutes, as Ganeti's watcher does it.

No master is asked, so that these scripts run while there is none. What they say goes into the
agent's log; nothing denies anything.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from pathlib import Path
from typing import Final

from gantry.agent.hooks import DIRECTORY as HOOKS
from gantry.agent.memory import Memory
from gantry.hooks.watcher import DIRECTORY, added, order
from gantry.host.daemon import Identity
from gantry.model import timeouts
from gantry.model.orders import ScriptResult, ScriptStatus

_KEY: Final = "watcher"
_LONGEST: Final = 2000
"""Characters of an output in the log."""
_log = logging.getLogger(__name__)


async def follow(root: Path, memory: Memory, interval: float = timeouts.WATCHER) -> None:
    """Run them now, and again ``interval`` seconds after each run has ended, for ever.

    They are recorded like all scripts, so that the next agent ends what this one left running.
    """
    memory.scripts_ended(_KEY)
    while True:
        try:
            await once(root, memory)
        except Exception:
            _log.exception("bug: the scripts of the watcher")
        await asyncio.sleep(interval)


async def once(root: Path, memory: Memory) -> None:
    """One run of all scripts; failures are logged."""
    if not await asyncio.to_thread((root / HOOKS / DIRECTORY).is_dir):
        return
    run_id = str(uuid.uuid4())

    def started(identity: Identity) -> None:
        memory.script_started(_KEY, identity.pid, identity.started)

    from gantry.host.scripts import run_hooks  # loaded when there are any

    memory.mark(_KEY, f"GANTRY_RUN_ID={run_id}")
    try:
        ran = await run_hooks(
            root / HOOKS, order(run_id), added(str(root), run_id), on_started=started
        )
    finally:
        memory.scripts_ended(_KEY)
    for result in ran.results:
        _tell(result)


def _tell(result: ScriptResult) -> None:
    name = f"{result.directory}/{result.script}"
    said = result.output.strip()[:_LONGEST]
    if result.status is ScriptStatus.FAILED:
        how = result.problem or (
            f"was ended by signal {result.signal}"
            if result.signal is not None
            else f"ended with status {result.exit_status}"
        )
        _log.warning("script %s %s: %s", name, how, said or "(no output)")
    elif result.status is ScriptStatus.SUCCEEDED and said:
        _log.info("script %s: %s", name, said)
