"""A phase's hook scripts on this node: listed, filtered, ordered, run one after the other.

What they are told and what their results mean is decided elsewhere (``gantry.hooks``). The
rules here are those of the hook interface, sections 2.3 to 2.5.
"""

from __future__ import annotations

import io
import logging
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from gantry.host.command import in_thread
from gantry.host.daemon import Identity
from gantry.host.process import Ended, Stop, run
from gantry.model import timeouts
from gantry.model.orders import HooksRan, HooksRun, ScriptResult, ScriptStatus

_log = logging.getLogger(__name__)

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]+")
_HALF: Final = 512 * 1024
"""Of each stream the first and the last so many bytes are kept."""
_GAP: Final = b"\n[... output left out ...]\n"


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a directory; ``skip`` says why it does not run."""

    directory: str
    name: str
    path: str
    version: int
    skip: str = ""


async def run_hooks(
    base: Path,
    order: HooksRun,
    extra: Mapping[str, str],
    *,
    timeout: float = timeouts.HOOK_SCRIPT,
    on_started: Callable[[Identity], None] | None = None,
) -> HooksRan:
    """Run the scripts of all the order's directories below ``base``, in one sequence.

    ``extra`` is added to each environment (``GANTRY_…``). Each script may take ``timeout``
    seconds. ``on_started`` is told each process, in the worker thread. A cancellation ends the
    running script's process group and starts no other.
    """
    stop = Stop()

    def work() -> HooksRan:
        return HooksRan(results=tuple(_run_all(base, order, extra, timeout, stop, on_started)))

    return await in_thread(stop, work)


def listing(base: Path, order: HooksRun) -> list[Script]:
    """The scripts that a run would meet, in its order, those that it skips included.

    Ordered by name, then by directory, as Python orders strings. A file that is reached twice
    (two directories, one script) runs once, in the cluster's version.
    """
    found = [
        script
        for directory in order.directories
        for script in _directory(base, directory.name, directory.version)
    ]
    # The directory of the main version comes first among equals, so that it is the one kept.
    found.sort(key=lambda one: (one.name, one.version != order.main_version, one.directory))
    seen: set[tuple[int, int]] = set()
    kept = []
    for script in found:
        if not script.skip:
            status = Path(script.path).stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
        kept.append(script)
    return sorted(kept, key=lambda one: (one.name, one.directory))


def _directory(base: Path, name: str, version: int) -> Iterator[Script]:
    path = base / name
    try:
        entries = os.listdir(path)  # noqa: PTH208 - names only; Path.iterdir makes objects
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        _log.warning("cannot list the hook directory %s: %s", path, error.strerror)
        return
    for entry in entries:
        if entry.startswith("."):
            continue
        full = f"{path}/{entry}"
        skip = _why_not(entry, full)
        if skip and entry == "lost+found" and path.is_mount():
            continue
        yield Script(
            directory=name,
            name=entry.encode("utf-8", "backslashreplace").decode() if skip else entry,
            path=full,
            version=version,
            skip=skip,
        )


def _why_not(name: str, path: str) -> str:
    if not _NAME.fullmatch(name):
        return "its name is not made of letters, digits, _ and -"
    try:
        status = os.stat(path)  # noqa: PTH116 - one call a script, on the fast path
    except OSError as error:
        return f"it cannot be reached: {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return "it is not a file"
    if not os.access(path, os.X_OK):
        return "it is not executable"
    return ""


def _run_all(
    base: Path,
    order: HooksRun,
    extra: Mapping[str, str],
    timeout: float,
    stop: Stop,
    on_started: Callable[[Identity], None] | None,
) -> Iterator[ScriptResult]:
    environments = {
        version: {**variables, **extra} for version, variables in order.environments.items()
    }
    for script in listing(base, order):
        if stop.wanted:
            return
        if script.skip:
            yield _skipped(script)
        else:
            environment = environments[str(script.version)]
            yield _run_one(script, environment, timeout, stop, on_started)


def _run_one(
    script: Script,
    environment: Mapping[str, str],
    timeout: float,
    stop: Stop,
    on_started: Callable[[Identity], None] | None,
) -> ScriptResult:
    # Files of its own for every script: a background child may go on writing to them.
    with tempfile.TemporaryFile(buffering=0) as out, tempfile.TemporaryFile(buffering=0) as errors:
        began = time.time()
        ended = run(
            [script.path],
            environment,
            stdout=out.fileno(),
            stderr=errors.fileno(),
            timeout=timeout,
            stop=stop,
            on_started=on_started,
        )
        output, cut = _content(out)
        more, cut_too = _content(errors)
    return ScriptResult(
        directory=script.directory,
        script=script.name,
        status=ScriptStatus.SUCCEEDED if ended.succeeded else ScriptStatus.FAILED,
        exit_status=ended.exit_status,
        signal=ended.signal,
        problem=_problem(ended, timeout),
        output=(output + more).decode("utf-8", "replace"),
        started=began,
        duration=ended.duration,
        truncated=cut or cut_too,
    )


def _content(file: BinaryIO | io.FileIO) -> tuple[bytes, bool]:
    """What was written, at most its first and last 512 KiB, and whether it was cut."""
    size = os.fstat(file.fileno()).st_size
    if size <= 2 * _HALF:
        return os.pread(file.fileno(), size, 0), False
    start = os.pread(file.fileno(), _HALF, 0)
    return start + _GAP + os.pread(file.fileno(), _HALF, size - _HALF), True


def _problem(ended: Ended, timeout: float) -> str:
    if ended.timed_out:
        return f"took longer than {timeout:g} s and was ended"
    if ended.cancelled:
        return "was ended because the job was cancelled"
    return ended.problem


def _skipped(script: Script) -> ScriptResult:
    return ScriptResult(
        directory=script.directory,
        script=script.name,
        status=ScriptStatus.SKIPPED,
        problem=script.skip,
    )
