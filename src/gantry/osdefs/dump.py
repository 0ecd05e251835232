"""One disk through a definition's ``export`` or ``import`` (OS interface, section 3).

The stream is the caller's: a pipe or a socket that is open already. Nothing of it passes
through here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from gantry.model.live import OsFacts
from gantry.model.orders import OsRun
from gantry.osdefs import environment, logged, running
from gantry.osdefs.running import SIZE_DESCRIPTOR, Streams
from gantry.osdefs.search import Finder

EXPORT: Final = "export"
IMPORT: Final = "import"


async def export(
    finder: Finder,
    run: OsRun,
    disk_paths: Sequence[str],
    care: logged.Care,
    *,
    index: int,
    device: str | None = None,
    target: int,
    size: int | None = None,
    secrets: Mapping[str, str] | None = None,
) -> Path:
    """Run ``export`` for the disk ``index``; it writes the dump to the descriptor ``target``.

    ``device`` is the real path of what is exported, the disk itself where None; ``size`` an
    open descriptor to which the script may write how many bytes it will be, and a line end.
    Both descriptors stay the caller's to close. Everything else is as ``logged.run_logged``
    says; what the script says on stderr goes to its log.
    """
    facts = await asyncio.to_thread(running.usable, finder, run.os)
    what = disk_paths[index] if device is None else device
    streams = Streams(stdout=target, size=size)
    return await logged.run_logged(
        exporting(facts, run, disk_paths, index, what, streams, secrets=secrets),
        care,
    )


async def import_disk(
    finder: Finder,
    run: OsRun,
    disk_paths: Sequence[str],
    care: logged.Care,
    *,
    index: int,
    source: int,
    secrets: Mapping[str, str] | None = None,
) -> Path:
    """Run ``import`` for the disk ``index``; it reads the dump from the descriptor ``source``.

    The descriptor stays the caller's to close. Everything else is as ``logged.run_logged`` says.
    """
    facts = await asyncio.to_thread(running.usable, finder, run.os)
    return await logged.run_logged(
        importing(facts, run, disk_paths, index, source, secrets=secrets),
        care,
    )


def exporting(
    facts: OsFacts,
    run: OsRun,
    disk_paths: Sequence[str],
    index: int,
    device: str,
    streams: Streams,
    *,
    secrets: Mapping[str, str] | None = None,
) -> logged.Scripted:
    """``export`` with all that it is given."""
    return logged.Scripted(
        facts=facts,
        script=EXPORT,
        run=run,
        variables=environment.export(
            facts,
            run,
            disk_paths,
            index=index,
            device=device,
            size_descriptor=None if streams.size is None else SIZE_DESCRIPTOR,
            secrets=secrets,
        ),
        kind=EXPORT,
        instance=f"{run.name}-disk{index}",
        doing=f"exporting disk {index} of {run.name}",
        hidden=(*run.private_parameters.values(), *(secrets or {}).values()),
        files=(device,),
        streams=streams,
    )


def importing(
    facts: OsFacts,
    run: OsRun,
    disk_paths: Sequence[str],
    index: int,
    source: int,
    *,
    secrets: Mapping[str, str] | None = None,
) -> logged.Scripted:
    """``import`` with all that it is given; it reads the dump from ``source``."""
    return logged.Scripted(
        facts=facts,
        script=IMPORT,
        run=run,
        variables=environment.import_disk(facts, run, disk_paths, index=index, secrets=secrets),
        kind=IMPORT,
        instance=f"{run.name}-disk{index}",
        doing=f"importing disk {index} of {run.name}",
        hidden=(*run.private_parameters.values(), *(secrets or {}).values()),
        files=(disk_paths[index],),
        streams=Streams(stdin=source),
    )
