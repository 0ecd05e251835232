"""Running a phase's hook scripts on this node. Which and with what, the master decided."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

from gantry.agent.effects import Task
from gantry.agent.parts import Parts
from gantry.host.scripts import run_hooks
from gantry.model.errors import Rejected
from gantry.model.orders import HooksRan, HooksRun

DIRECTORY: Final = "etc/ganeti/hooks"
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}(?:\.d)?")
_DATA_DIRECTORY: Final = "GANETI_DATA_DIR"


async def run(parts: Parts, order: HooksRun, task: Task) -> HooksRan:
    """All scripts of the order's directories, in one sequence."""
    for directory in order.directories:
        if not _NAME.fullmatch(directory.name):
            raise Rejected(f"{directory.name!r} is not a hooks directory", node=parts.node)
    extra = {
        "GANTRY_ROOT": str(parts.root),
        "GANTRY_JOB": str(order.job),
        "GANTRY_RUN_ID": order.run_id,
        "GANTRY_ATTEMPT": str(order.attempt),
    }
    if order.dry_run:
        extra["GANTRY_DRY_RUN"] = "1"
    rooted = {
        version: _rooted(parts.root, environment)
        for version, environment in order.environments.items()
    }
    order = msgspec.structs.replace(order, environments=rooted)
    return await run_hooks(parts.root / DIRECTORY, order, extra, on_started=task.started)


def _rooted(root: Path, environment: dict[str, str]) -> dict[str, str]:
    """Paths of the node as scripts can open them, where its root is not ``/``."""
    data = environment.get(_DATA_DIRECTORY)
    if data is None:
        return environment
    return {**environment, _DATA_DIRECTORY: str(root / data.lstrip("/"))}
