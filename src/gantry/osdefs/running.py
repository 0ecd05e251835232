"""What running any script of a definition has in common: the way it ended, in words.

The running itself is ``gantry.host``'s. Which variables a script gets is
``gantry.osdefs.environment``'s business.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from gantry.host import leftovers, process
from gantry.host.daemon import Identity
from gantry.host.leftovers import Scope
from gantry.model.bundles import UNPACKED
from gantry.model.errors import Reason, Rejected
from gantry.model.live import OsFacts
from gantry.osdefs import check
from gantry.osdefs.search import Finder
from gantry.osdefs.spool import Spool
from gantry.osdefs.variants import split

OnStarted: TypeAlias = Callable[[Identity], None]
"""Told which process has started, in the thread that then waits for it."""
MAX_OUTPUT: Final = 1 << 16
LOG_FIRST: Final = 15 << 20
LOG_LAST: Final = 1 << 20
"""Bytes of a script's output that its log has, from the beginning and from the end."""
SIZE_DESCRIPTOR: Final = 3
"""What ``EXP_SIZE_FD`` says."""
_SHORTEST_SECRET: Final = 4
_REDACTED: Final = "<redacted>"
_used: Final = Counter[str]()
_lock: Final = threading.Lock()


def usable(finder: Finder, os_name: str) -> OsFacts:
    """The valid definition behind ``os_name``, or Rejected: not there, or not valid."""
    base = split(os_name)[0]
    facts = finder.lookup(base)
    if facts is None:
        raise Rejected(
            f"the OS definition {base!r} was not found",
            "looked in " + ", ".join(finder.search_path) + "; a definition must be on every node, "
            "see gnt-os list and gnt-os diagnose",
            reason=Reason.UNKNOWN,
            object_name=base,
        )
    if not facts.valid:
        raise Rejected(
            f"the OS definition {base} is not valid: {facts.problem}",
            "see gnt-os diagnose",
            reason=Reason.ENVIRONMENT,
            object_name=base,
        )
    return facts


def must_be_trusted(facts: OsFacts) -> None:
    """Rejected where nobody said in which guest its script is to run."""
    if not facts.trusted:
        raise Rejected(
            f"the OS definition {facts.name} has {check.CREATE_UNTRUSTED}, which runs in an "
            "installation guest, and nobody said from which image that boots",
            "gnt-cluster modify --install-image=FILE names one for the cluster",
            reason=Reason.STATE,
            object_name=facts.name,
        )


def must_be_untrusted(facts: OsFacts) -> None:
    """Rejected where it has no script that is to run in a guest."""
    if facts.trusted:
        raise Rejected(
            f"the OS definition {facts.name} at {facts.path} has no {check.CREATE_UNTRUSTED} any "
            "more",
            "it was changed meanwhile: try again",
            reason=Reason.STATE,
            object_name=facts.name,
        )


def redact(text: str, secrets: Iterable[str]) -> str:
    """``text`` without private and secret values, should a script have printed one.

    Values of less than 4 characters stay: they are found in any text.
    """
    for value in sorted(set(secrets), key=len, reverse=True):
        if len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, _REDACTED)
    return text


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a script ended: ``how`` is a phrase such as "ended with exit status 3".

    ``left`` is what it left behind and what was cleared away, ``stuck`` what could not be;
    ``unwritten`` why its output could not be kept, if so. ``duration`` is in seconds.
    """

    succeeded: bool
    how: str
    exit_status: int | None = None
    duration: float = 0.0
    output: str = ""
    left: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()
    unwritten: str = ""


class Streams(msgspec.Struct, frozen=True, kw_only=True):
    """Open descriptors that a script gets beside its log.

    ``stdin`` (``/dev/null`` where None), ``stdout`` (the log where None), and ``size``, which
    it has as ``SIZE_DESCRIPTOR``. They stay the caller's to close.
    """

    stdin: int | None = None
    stdout: int | None = None
    size: int | None = None


class Guest(msgspec.Struct, frozen=True, kw_only=True):
    """The command that runs the script in a guest, with open files that it inherits."""

    argv: tuple[str, ...]
    inherited: tuple[int, ...]


async def run(
    facts: OsFacts,
    script: str,
    arguments: tuple[str, ...],
    *,
    environment: Mapping[str, str],
    timeout: float,
    output: Path | None = None,
    streams: Streams | None = None,
    guest: Guest | None = None,
    scope: Scope | None = None,
    on_started: OnStarted | None = None,
    on_ended: Callable[[Ended], None] | None = None,
) -> Ended:
    """Run one script of a definition to its end, with exactly ``environment``.

    It has its own session, the definition's directory to work in, our umask (an agent's is
    077) and no input but that of ``streams``. What it prints is appended to the file
    ``output``, ``LOG_FIRST`` and the last ``LOG_LAST`` bytes of it; or comes back, up to
    64 KiB. Its whole process group is ended at ``timeout`` (seconds) and when this call is
    cancelled. With ``guest`` that runs in its place. What it leaves behind within ``scope`` is
    cleared away, however it ended; ``on_ended`` is told in its thread, also where this call is
    cancelled.
    """
    directory = _version(facts.path)
    path = f"{directory}/{script}"
    # The directory is entered through env(1), which takes a name with = for an assignment.
    argv = [path if "=" not in path else f"./{script}", *arguments]
    given = streams or Streams()
    passed = {} if given.size is None else {SIZE_DESCRIPTOR: given.size}
    if guest is not None:
        argv = list(guest.argv)
        passed |= {number: number for number in guest.inherited}
    bounds = (MAX_OUTPUT // 2, MAX_OUTPUT // 2) if output is None else (LOG_FIRST, LOG_LAST)
    with tempfile.TemporaryFile() if output is None else output.open("ab", 0) as file:

        def work(stop: process.Stop) -> Ended:
            with Spool(file.fileno(), *bounds) as spool:
                ended, cleared = _run(
                    argv, environment, directory, given, passed, spool.descriptor,
                    timeout, stop, scope, on_started,
                )  # fmt: skip
            found = Ended(
                succeeded=ended.succeeded,
                how=_how(ended, timeout),
                exit_status=ended.exit_status,
                duration=ended.duration,
                left=cleared.gone,
                stuck=cleared.stuck,
                unwritten=spool.problem,
            )
            if on_ended is not None:
                on_ended(found)
            return found

        ended = await _in_own_thread(work)
        if output is None:
            file.seek(0)
            said = file.read().decode("utf-8", "replace")
            ended = msgspec.structs.replace(ended, output=said)
    return ended


def _version(directory: str) -> str:
    """Of a pushed definition the version that it has now, which a push meanwhile leaves alone."""
    place = Path(directory)
    pushed = place.is_symlink() and str(place.readlink()).startswith(f"{UNPACKED}/")
    return str(place.resolve()) if pushed else directory


def _run(
    argv: list[str],
    environment: Mapping[str, str],
    directory: str,
    streams: Streams,
    passed: Mapping[int, int],
    output: int,
    timeout: float,
    stop: process.Stop,
    scope: Scope | None,
    on_started: OnStarted | None,
) -> tuple[process.Ended, leftovers.Cleared]:
    """In a thread: the script, and what it left behind. ``output`` is what it writes to."""
    sessions: list[int] = []

    def started(which: Identity) -> None:
        sessions.append(which.pid)
        if on_started is not None:
            on_started(which)

    with _in_use(directory) as alone:
        before = leftovers.look()
        ended = process.run(
            argv,
            environment,
            stdin=streams.stdin,
            stdout=output if streams.stdout is None else streams.stdout,
            stderr=output,
            passed=passed,
            directory=directory,
            timeout=timeout,
            stop=stop,
            on_started=started,
        )
        wide = scope or Scope(files=(), directories=())
        if alone():
            wide = msgspec.structs.replace(wide, directories=(*wide.directories, directory))
        session = sessions[0] if sessions else None
        return ended, leftovers.clear(wide, before, session, ended.duration)


@contextlib.contextmanager
def _in_use(directory: str) -> Iterator[Callable[[], bool]]:
    """Scripts of the definition run; gives a question whether it is the only one.

    What another one mounts within the definition's directory meanwhile is not ours.
    """
    with _lock:
        _used[directory] += 1
    try:
        yield lambda: _used[directory] == 1
    finally:
        with _lock:
            _used[directory] -= 1


async def _in_own_thread(work: Callable[[process.Stop], Ended]) -> Ended:
    """Wait in a thread of its own: a script may take a day, and the shared ones are few."""
    stop = process.Stop()
    executor = ThreadPoolExecutor(1, thread_name_prefix="os-script")
    waiting = asyncio.get_running_loop().run_in_executor(executor, work, stop)
    try:
        return await asyncio.shield(waiting)
    finally:
        stop.set()
        executor.shutdown(wait=False)
        await asyncio.wait([waiting])
        stop.close()


def _how(ended: process.Ended, timeout: float) -> str:
    if ended.problem:
        return ended.problem
    if ended.timed_out:
        return f"did not end within {timeout:g} s, so its processes were ended"
    if ended.signal is not None:
        return f"was ended by signal {ended.signal} ({_signal_name(ended.signal)})"
    return f"ended with exit status {ended.exit_status}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
