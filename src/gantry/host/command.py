"""Short programs: run one, wait for it in the event loop, have its output.

Not for scripts of a site or an OS definition: those are ``gantry.host.scripts``'.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import BinaryIO, Final, TypeVar

import msgspec

from gantry.host.daemon import Identity
from gantry.host.process import Ended, Stop, exists
from gantry.host.process import run as run_process
from gantry.model.errors import OperationFailed, Reason

ENVIRONMENT: Final[Mapping[str, str]] = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
}
"""What a program gets where nothing else is said: never our own environment."""

_MOST_THREADS: Final = 1024
"""Programs that are waited for at the same time; further ones wait for their turn."""

T = TypeVar("T")


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """How a program ended, and what it wrote."""

    status: int | None
    signal: int | None
    stdout: bytes
    stderr: bytes


class CommandFailed(OperationFailed):
    """A program could not be started, failed, or took too long."""

    code = "command-failed"


async def in_thread(stop: Stop, work: Callable[[], T]) -> T:
    """Do blocking ``work`` in a thread; a cancellation sets ``stop`` and waits for its end.

    The loop's own pool is too small for it: a script may run for hours.
    """
    # In the caller's context, as asyncio.to_thread does: where to log is told by it.
    within = contextvars.copy_context()
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    done = _threads().submit(within.run, work)
    # One step of the loop; asyncio's own way takes three, each after some script has run.
    done.add_done_callback(lambda _: _tell(loop, ended))
    try:
        await ended
    except asyncio.CancelledError:
        stop.set()
        await _settled(asyncio.wrap_future(done))
        raise
    finally:
        stop.close()
    return done.result()


def _tell(loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(_set, ended)


def _set(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


@cache
def _threads() -> concurrent.futures.ThreadPoolExecutor:
    """Threads that are kept: starting one holds the event loop up until it has had a turn."""
    return concurrent.futures.ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="program")


async def _settled(task: asyncio.Future[T]) -> None:
    """Wait until it has ended, whatever came of it, even if we are cancelled once more.

    It ends soon, since its program is being ended; and what it works with is ours to close.
    """
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            continue
    if not task.cancelled():
        task.exception()


async def run(
    argv: Sequence[str],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    stdin: bytes = b"",
    check: bool = True,
    most: int | None = None,
    passed: Mapping[int, int] | None = None,
    on_started: Callable[[Identity], None] | None = None,
) -> Completed:
    """Run ``argv`` to its end, at most ``timeout`` seconds; its process group is ended then.

    ``most``: of each output only so many bytes are read. ``passed`` are open descriptors of
    ours, by the number that it has them under. ``on_started`` is told, in another thread, which
    process it is.

    ``argv[0]`` may be a bare name, looked up in ``ENVIRONMENT``'s PATH. With ``check``,
    CommandFailed where the exit status is not 0; always where it could not be started or took
    too long. A cancellation ends the program first.
    """
    environment = ENVIRONMENT if env is None else env
    ended, completed = await _completed(
        [find(argv[0]), *argv[1:]], environment, cwd, stdin, timeout, most, passed, on_started
    )
    if ended.problem or ended.timed_out or (check and not ended.succeeded):
        raise _failure(argv[0], ended, completed, timeout)
    return completed


async def _completed(
    argv: Sequence[str],
    environment: Mapping[str, str],
    directory: str | None,
    stdin: bytes,
    timeout: float,
    most: int | None,
    passed: Mapping[int, int] | None,
    on_started: Callable[[Identity], None] | None,
) -> tuple[Ended, Completed]:
    """Through files: a program that leaves a child behind would keep a pipe open."""
    with (
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as errors,
    ):
        given.write(stdin)
        given.seek(0)
        stop = Stop()

        def work() -> Ended:
            return run_process(
                argv,
                environment,
                stdin=given.fileno(),
                stdout=out.fileno(),
                stderr=errors.fileno(),
                directory=directory,
                passed=passed,
                timeout=timeout,
                stop=stop,
                on_started=on_started,
            )

        ended = await in_thread(stop, work)
        completed = Completed(
            status=ended.exit_status,
            signal=ended.signal,
            stdout=_content(out, most),
            stderr=_content(errors, most),
        )
    return ended, completed


def find(name: str) -> str:
    """The absolute path of a program; CommandFailed where it is not installed."""
    if "/" in name:
        return name
    for directory in ENVIRONMENT["PATH"].split(":"):
        candidate = f"{directory}/{name}"
        if exists(candidate):
            return candidate
    raise CommandFailed(
        f"the program {name} is not installed",
        "make install installs what Gantry needs",
        reason=Reason.ENVIRONMENT,
    )


def _content(file: BinaryIO, most: int | None) -> bytes:
    file.seek(0)
    return file.read(-1 if most is None else most)


def _failure(name: str, ended: Ended, completed: Completed, timeout: float) -> CommandFailed:
    if ended.problem:
        return CommandFailed(f"{name} {ended.problem}", reason=Reason.ENVIRONMENT)
    if ended.timed_out:
        return CommandFailed(f"{name} took longer than {timeout:g} s and was ended")
    how = (
        f"was ended by signal {ended.signal}"
        if ended.signal is not None
        else f"ended with exit status {ended.exit_status}"
    )
    said = (completed.stderr or completed.stdout).decode(errors="replace").strip()
    tail = "; ".join(said.splitlines()[-3:])
    return CommandFailed(f"{name} {how}" + (f": {tail}" if tail else ""))
