"""What is said of the scripts of a phase that was running when its agent was killed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gantry.agent.ended_file import Ends, Mark
from gantry.hooks.record import INTERRUPTED
from gantry.host.listing import Script
from gantry.host.outputs import left
from gantry.model.hook_orders import ScriptResult, ScriptStatus

LOST: Final = "what it wrote was lost, as the agent was ended soon after it"


def results(
    scripts: Sequence[Script],
    recorded: set[tuple[str, str]],
    ends: Ends,
    outputs: Path,
    started: float,
) -> list[ScriptResult]:
    """Of those that had ended and are not recorded, and of the one that ran then, if one did.

    ``scripts`` are all of the phase in its order, ``started`` is a time before the first of
    these began (seconds since 1970).
    """
    found = []
    for number, script in enumerate(scripts):
        if script.skip or (script.directory, script.name) in recorded:
            continue
        mark = ends.get(number, script.directory, script.name)
        if mark is None:
            found.append(_interrupted(number, script, outputs, started))
            break
        found.append(_ended(script, mark))
        started = max(started, mark.began + mark.duration)
    return found


def _ended(script: Script, mark: Mark) -> ScriptResult:
    return ScriptResult(
        directory=script.directory,
        script=script.name,
        status=ScriptStatus.SUCCEEDED if mark.code == 0 else ScriptStatus.FAILED,
        exit_status=mark.code if mark.code >= 0 else None,
        signal=-mark.code if mark.code < 0 else None,
        started=mark.began,
        duration=mark.duration,
        version=script.version,
        user_time=mark.user_time,
        system_time=mark.system_time,
        warnings=(LOST,),
        run=os.urandom(6).hex(),
    )


def _interrupted(number: int, script: Script, outputs: Path, started: float) -> ScriptResult:
    return ScriptResult(
        directory=script.directory,
        script=script.name,
        status=ScriptStatus.FAILED,
        problem=INTERRUPTED,
        started=started,
        version=script.version,
        run=os.urandom(6).hex(),
        stdout=left(outputs, f"{number:04d}.out"),
        stderr=left(outputs, f"{number:04d}.err"),
    )
