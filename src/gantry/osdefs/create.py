"""Installing an instance: running a definition's ``create`` (OS interface, section 3).

Disks are made before and are undone by others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from gantry.model.live import OsFacts
from gantry.model.orders import OsRun
from gantry.osdefs import check, environment, logged, running
from gantry.osdefs.search import Finder


async def create(
    finder: Finder,
    run: OsRun,
    disk_paths: Sequence[str],
    care: logged.Care,
    *,
    reinstall: bool = False,
    secrets: Mapping[str, str] | None = None,
) -> Path:
    """Run ``create`` to its end and return the path of its log.

    ``disk_paths`` are the real paths of ``run.disks``. Rejected where the definition cannot be
    used; everything else is as ``logged.run_logged`` says.
    """
    facts = await asyncio.to_thread(running.usable, finder, run.os)
    running.must_be_trusted(facts)
    return await logged.run_logged(
        scripted(facts, run, disk_paths, reinstall=reinstall, secrets=secrets),
        care,
    )


def scripted(
    facts: OsFacts,
    run: OsRun,
    disk_paths: Sequence[str],
    *,
    reinstall: bool = False,
    secrets: Mapping[str, str] | None = None,
) -> logged.Scripted:
    """The script with all that it is given."""
    return logged.Scripted(
        facts=facts,
        script=check.CREATE,
        run=run,
        variables=environment.create(facts, run, disk_paths, reinstall=reinstall, secrets=secrets),
        kind="add",
        instance=run.name,
        doing=f"installing {run.name}",
        hidden=(*run.private_parameters.values(), *(secrets or {}).values()),
        files=tuple(disk_paths),
        directories=logged.directories(disk_paths),
    )
