"""What running any script of a definition has in common: the way it ended, in words.

The running itself is ``gantry.host``'s. Which variables a script gets is
``gantry.osdefs.environment``'s business.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Final, TypeAlias

import msgspec

from gantry.host import process
from gantry.host.daemon import Identity
from gantry.model.errors import Reason, Rejected
from gantry.model.live import OsFacts
from gantry.osdefs import check
from gantry.osdefs.search import Finder
from gantry.osdefs.variants import split

OnStarted: TypeAlias = Callable[[Identity], None]
"""Told which process has started, in the thread that then waits for it."""
MAX_OUTPUT: Final = 1 << 16
_SHORTEST_SECRET: Final = 4
_REDACTED: Final = "<redacted>"


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
    if not facts.trusted:
        raise Rejected(
            f"the OS definition {base} has {check.CREATE_UNTRUSTED}, which would have to run in an "
            "installation guest; that is not supported",
            f"offer {check.CREATE} alone in {facts.path}",
            reason=Reason.ENVIRONMENT,
            object_name=base,
        )
    return facts


def redact(text: str, secrets: Iterable[str]) -> str:
    """``text`` without private and secret values, should a script have printed one.

    Values of less than 4 characters stay: they are found in any text.
    """
    for value in sorted(set(secrets), key=len, reverse=True):
        if len(value) >= _SHORTEST_SECRET:
            text = text.replace(value, _REDACTED)
    return text


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a script ended: ``how`` is a phrase such as "ended with exit status 3"."""

    succeeded: bool
    how: str
    output: str = ""


async def run(
    facts: OsFacts,
    script: str,
    arguments: tuple[str, ...],
    *,
    environment: Mapping[str, str],
    timeout: float,
    output: Path | None = None,
    on_started: OnStarted | None = None,
) -> Ended:
    """Run one script of a definition to its end, with exactly ``environment``.

    It has its own session, the definition's directory to work in, our umask (an agent's is
    077) and no input. What it prints is appended to the file ``output``, or comes back, up to
    64 KiB of it. Its whole process group is ended at ``timeout`` (seconds) and when this call
    is cancelled; processes that it leaves behind when it ends by itself go on.
    """
    path = f"{facts.path}/{script}"
    # The directory is entered through env(1), which takes a name with = for an assignment.
    argv = [path if "=" not in path else f"./{script}", *arguments]
    with tempfile.TemporaryFile() if output is None else output.open("ab") as file:

        def work(stop: process.Stop) -> process.Ended:
            return process.run(
                argv,
                environment,
                stdout=file.fileno(),
                stderr=file.fileno(),
                directory=facts.path,
                timeout=timeout,
                stop=stop,
                on_started=on_started,
            )

        ended = await _in_own_thread(work)
        said = "" if output is not None else _both_ends(file)
    return Ended(succeeded=ended.succeeded, how=_how(ended, timeout), output=said)


async def _in_own_thread(work: Callable[[process.Stop], process.Ended]) -> process.Ended:
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


def _both_ends(file: IO[bytes]) -> str:
    """The whole output, or the beginning and the end of much."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size <= MAX_OUTPUT:
        return file.read().decode("utf-8", "replace")
    first = file.read(MAX_OUTPUT // 2)
    file.seek(-MAX_OUTPUT // 2, os.SEEK_END)
    parts = (first, f"\n({size - MAX_OUTPUT} bytes left out)\n".encode(), file.read())
    return b"".join(parts).decode("utf-8", "replace")


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
