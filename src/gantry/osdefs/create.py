"""Installing an instance: running a definition's ``create`` (OS interface, section 3).

Disks are made before and are undone by others. What is here: the log, progress while the
script runs, and saying how it ended.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Final

from gantry.model import names, timeouts
from gantry.model.errors import OperationFailed, Reason
from gantry.model.live import OsFacts
from gantry.model.orders import OsRun
from gantry.osdefs import check, environment, running
from gantry.osdefs.follow import Follower, last_lines
from gantry.osdefs.search import Finder

LAST_LINES: Final = 20


async def create(
    finder: Finder,
    run: OsRun,
    disk_paths: Sequence[str],
    *,
    reinstall: bool = False,
    secrets: Mapping[str, str] | None = None,
    log_directory: Path,
    progress: Callable[[str], None],
    on_started: running.OnStarted | None = None,
    timeout: float = timeouts.OS_CREATE,
    now: Callable[[], float] = time.time,
) -> Path:
    """Run ``create`` to its end and return the path of its log.

    ``disk_paths`` are the real paths of ``run.disks``; ``progress`` gets every line of the
    script's output while it runs, within bounds; ``on_started`` is told the process before
    anything waits for it; ``timeout`` is in seconds. Rejected where the definition cannot be
    used, OperationFailed where the script fails, with its last 20 lines. A cancelled call
    ends all of the script's processes first.
    """
    facts = await asyncio.to_thread(running.usable, finder, run.os)
    variables = environment.create(facts, run, disk_paths, reinstall=reinstall, secrets=secrets)
    log = await asyncio.to_thread(_make_log, log_directory, run, now())
    hidden = [*run.private_parameters.values(), *(secrets or {}).values()]
    script = running.run(
        facts,
        check.CREATE,
        (),
        environment=variables,
        timeout=timeout,
        output=log,
        on_started=on_started,
    )
    what = f"{check.CREATE} of {run.os} for {run.name}"
    ended = await _followed(script, log, lambda line: progress(running.redact(line, hidden)), what)
    if not ended.succeeded:
        raise _failure(facts, run, log, ended.how, hidden)
    return log


async def _followed(
    script: Coroutine[None, None, running.Ended], log: Path, say: Callable[[str], None], what: str
) -> running.Ended:
    """Wait for the script and pass on what it writes to ``log``."""
    try:
        async with Follower(log, say):
            return await script
    except asyncio.CancelledError:
        say(f"{what} was cancelled; its processes were ended")
        raise
    finally:
        script.close()


def _make_log(directory: Path, run: OsRun, now: float) -> Path:
    """An empty log that only its owner may read, made before the script can write to it."""
    stamp = time.strftime("%Y-%m-%d_%H_%M_%S", time.localtime(now))
    instance = names.host_name(run.name, "the name of an instance")
    path = directory / f"add-{names.os_name(run.os)}-{instance}-{stamp}.log"
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(path, flags, 0o600))
    except OSError as error:
        raise OperationFailed(
            f"the log {path} of {run.os} for {run.name} cannot be written: {error.strerror}",
            "make room, or mend the rights of the directory",
            reason=Reason.ENVIRONMENT,
            object_name=run.name,
        ) from error
    return path


def _failure(
    facts: OsFacts, run: OsRun, log: Path, how: str, hidden: Sequence[str]
) -> OperationFailed:
    lines = [running.redact(line, hidden) for line in last_lines(log, LAST_LINES)]
    said = f"; last lines of {log}:\n" + "\n".join(lines) if lines else f"; nothing in {log}"
    return OperationFailed(
        f"installing {run.name} failed: {facts.path}/{check.CREATE} {how}{said}",
        "mend what the script says and try again",
        reason=Reason.ENVIRONMENT,
        object_name=run.name,
    )
