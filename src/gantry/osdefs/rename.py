"""Telling a guest's system its new name: running a definition's ``rename``.

After a rename and after an import (OS interface, section 3). That a failure is only a warning
is decided elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from gantry.model.live import OsFacts
from gantry.model.orders import OsRun
from gantry.osdefs import environment, logged, running
from gantry.osdefs.search import Finder

RENAME: Final = "rename"


async def rename(
    finder: Finder,
    run: OsRun,
    disk_paths: Sequence[str],
    care: logged.Care,
    *,
    old_name: str,
    secrets: Mapping[str, str] | None = None,
) -> Path:
    """Run ``rename`` to its end and return the path of its log; ``run.name`` is the new name.

    ``disk_paths`` are the real paths of ``run.disks``. Rejected where the definition cannot be
    used; everything else is as ``logged.run_logged`` says.
    """
    facts = await asyncio.to_thread(running.usable, finder, run.os)
    return await logged.run_logged(
        scripted(facts, run, disk_paths, old_name=old_name, secrets=secrets),
        care,
    )


def scripted(
    facts: OsFacts,
    run: OsRun,
    disk_paths: Sequence[str],
    *,
    old_name: str,
    secrets: Mapping[str, str] | None = None,
) -> logged.Scripted:
    """The script with all that it is given."""
    return logged.Scripted(
        facts=facts,
        script=RENAME,
        run=run,
        variables=environment.rename(facts, run, disk_paths, old_name=old_name, secrets=secrets),
        kind=RENAME,
        instance=f"{old_name}-{run.name}",
        doing=f"telling {run.name} its new name",
        hidden=(*run.private_parameters.values(), *(secrets or {}).values()),
        files=tuple(disk_paths),
        directories=logged.directories(disk_paths),
    )
