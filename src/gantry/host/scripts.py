"""A phase's hook scripts on this node: listed, filtered, ordered, run one after the other.

What they are told and what their results mean is decided elsewhere (``gantry.hooks``). The
rules here are those of the hook interface, sections 2.3 to 2.5.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Final, Self, TypeAlias

import msgspec

from gantry.host.command import in_thread
from gantry.host.daemon import Identity
from gantry.host.process import Ended, Stop, run
from gantry.model import timeouts
from gantry.model.hook_orders import HookSequence
from gantry.model.orders import HooksRan, HooksRun, ScriptResult, ScriptStatus

File: TypeAlias = tuple[int, int]
"""A file by device and inode."""

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


def listing(base: Path, order: HooksRun | HookSequence) -> list[Script]:
    """The scripts that a run would meet, in its order, those that it skips included.

    Ordered by name, then by directory, as Python orders strings. A file that is reached from
    two directories runs for one of them only, that of the cluster's version; several names for
    it in one directory all run, for a program may go by the name that it is called by.
    """
    directories = sorted(order.directories, key=lambda one: one.version != order.main_version)
    owners: dict[File, str] = {}
    kept = []
    for directory in directories:
        for script, file in _directory(base, directory.name, directory.version):
            if file is None or owners.setdefault(file, directory.name) == directory.name:
                kept.append(script)
    return sorted(kept, key=lambda one: (one.name, one.directory))


def _directory(base: Path, name: str, version: int) -> Iterator[tuple[Script, File | None]]:
    """Every visible entry; with it the file that it is, where it is one that runs."""
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
        skip, file = _look(entry, full)
        if skip and entry == "lost+found" and path.is_mount():
            continue
        script = Script(
            directory=name,
            name=entry.encode("utf-8", "backslashreplace").decode() if skip else entry,
            path=full,
            version=version,
            skip=skip,
        )
        yield script, file


def _look(name: str, path: str) -> tuple[str, File | None]:
    """Why it does not run, or "" and which file it is (device and inode)."""
    if not _NAME.fullmatch(name):
        return "its name is not made of letters, digits, _ and -", None
    try:
        status = os.stat(path)  # noqa: PTH116 - one call a script, on the fast path
    except OSError as error:
        return f"it cannot be reached: {error.strerror}", None
    if not stat.S_ISREG(status.st_mode):
        return "it is not a file", None
    if not os.access(path, os.X_OK):
        return "it is not executable", None
    return "", (status.st_dev, status.st_ino)


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
    with _Outputs() as outputs:
        for script in listing(base, order):
            if stop.wanted:
                return
            # An earlier script may have removed this one, or taken its rights away.
            skip = script.skip or _look(script.name, script.path)[0]
            if skip:
                yield skipped(script, skip)
            else:
                environment = environments[str(script.version)]
                yield _run_one(script, environment, outputs, timeout, stop, on_started)


class _Outputs:
    """The files that scripts write to, a new pair for each: a background child may go on writing.

    Making and closing them takes a fifth of a small script's time, so both are done while a
    script runs.
    """

    def __init__(self) -> None:
        self._next: list[IO[bytes]] = []
        self._used: list[IO[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close(self._used)
        self._close(self._next)

    def take(self) -> tuple[IO[bytes], IO[bytes]]:
        """For stdout and stderr; OSError where there is no room for files."""
        self._make()
        out, errors = self._next
        self._next = []
        return out, errors

    def used(self, *files: IO[bytes]) -> None:
        """They have been read; they are closed in an idle moment."""
        self._used += files

    def prepare(self) -> None:
        """A script is running: time to close the last ones and to make the next."""
        try:
            self._close(self._used)
            self._make()
        except OSError:  # ``take`` will say so, of the script that they were for
            return

    def _make(self) -> None:
        while len(self._next) < 2:
            self._next.append(_file())

    @staticmethod
    def _close(files: list[IO[bytes]]) -> None:
        while files:
            files.pop().close()


def _file() -> IO[bytes]:
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - lives as long as its script
    # A script that writes to /dev/stderr opens it anew, with an offset of its own: what it
    # writes either way must not land on what is there.
    fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND)
    return file


def _run_one(
    script: Script,
    environment: Mapping[str, str],
    outputs: _Outputs,
    timeout: float,
    stop: Stop,
    on_started: Callable[[Identity], None] | None,
) -> ScriptResult:
    began = time.time()
    try:
        out, errors = outputs.take()
    except OSError as error:
        problem = f"cannot be executed: no file for its output: {error.strerror}"
        return _result(script, Ended(problem=problem), timeout, began)
    try:
        ended = run(
            [script.path],
            environment,
            stdout=out.fileno(),
            stderr=errors.fileno(),
            timeout=timeout,
            stop=stop,
            on_started=on_started,
            meanwhile=outputs.prepare,
        )
        return _result(script, ended, timeout, began, _content(out), _content(errors))
    finally:
        outputs.used(out, errors)


def _result(
    script: Script,
    ended: Ended,
    timeout: float,
    began: float,
    out: tuple[bytes, bool] = (b"", False),
    errors: tuple[bytes, bool] = (b"", False),
) -> ScriptResult:
    return ScriptResult(
        directory=script.directory,
        script=script.name,
        status=ScriptStatus.SUCCEEDED if ended.succeeded else ScriptStatus.FAILED,
        exit_status=ended.exit_status,
        signal=ended.signal,
        problem=_problem(ended, timeout),
        output=(out[0] + errors[0]).decode("utf-8", "replace"),
        started=began,
        duration=ended.duration,
        truncated=out[1] or errors[1],
    )


def _content(file: IO[bytes]) -> tuple[bytes, bool]:
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


def skipped(script: Script, why: str) -> ScriptResult:
    """What is said of a script that does not run."""
    return ScriptResult(
        directory=script.directory,
        script=script.name,
        status=ScriptStatus.SKIPPED,
        problem=why,
    )
