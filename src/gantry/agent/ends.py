"""What both ends of a transfer have in common."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

from gantry.agent import transfer_programs
from gantry.agent.parts import Parts
from gantry.host import command, signs_of_life
from gantry.host.pipeline import Failed, Stage
from gantry.model import timeouts
from gantry.model.backup_orders import Peer
from gantry.model.errors import GantryError, OperationFailed, Reason
from gantry.model.names import Uuid
from gantry.pki import qemu_names

_NETWORK: Final = ("socat", "qemu-img")
_MUCH: Final = 1 << 18
"""Bytes of words of a program's that are kept."""


def environment(parts: Parts, transfer: Uuid, **more: str) -> dict[str, str]:
    """Of the programs of a transfer."""
    return {**command.ENVIRONMENT, **parts.transfers.environment(transfer), **more}


def stages(
    parts: Parts,
    transfer: Uuid,
    directory: Path,
    argvs: Sequence[Sequence[str]],
    first: str,
    *,
    count: int,
) -> list[Stage]:
    """The programs, each with a file for what it says: ``first``, and ``count`` for that dd."""
    names = [first, *(f"program{number}" for number in range(1, len(argvs)))]
    names[count] = "count"
    return [
        Stage(
            argv=tuple(argv),
            errors=directory / name,
            environment=environment(parts, transfer),
            called=transfer_programs.called(argv),
        )
        for argv, name in zip(argvs, names, strict=True)
    ]


def tls(root: Path, directory: Path) -> None:
    """Put the node's certificates there under the names that QEMU looks for."""
    qemu_names.prepare(root, directory)


def clear(directory: Path) -> None:
    """Nothing of an end stays."""
    shutil.rmtree(directory, ignore_errors=True)


async def until(
    programs: Coroutine[Any, Any, None], enough: asyncio.Event, end: Callable[[], bool]
) -> None:
    """Run programs that end only when they are told, which ``end`` does once ``enough`` is set.

    ``end`` says whether there was anything to tell it to.
    """
    running = asyncio.create_task(programs)
    told = asyncio.create_task(enough.wait())
    try:
        await asyncio.wait({running, told}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done() and not end():
            raise OperationFailed("the transfer was ended before it began")
        await running
    finally:
        await _ended(running, told)


async def served(
    listens: Coroutine[Any, Any, None], takes: Coroutine[Any, Any, None], enough: asyncio.Event
) -> None:
    """Run ``takes`` to its end. ``listens`` gives it what it takes, and is ended after it.

    Not before ``enough`` is set: what is said to the caller at the end is not to be cut off.
    """
    listening, taking = asyncio.create_task(listens), asyncio.create_task(takes)
    told = asyncio.create_task(enough.wait())
    try:
        await asyncio.wait({listening, taking}, return_when=asyncio.FIRST_COMPLETED)
        if not taking.done():
            await listening
            raise OperationFailed("the transfer was ended: nobody listens any more")
        await taking
        await told
    finally:
        await _ended(listening, taking, told)


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@contextlib.asynccontextmanager
async def little_said(path: Path) -> AsyncIterator[None]:
    """Meanwhile a file that a program appends to is emptied when it is large.

    Whoever calls may have a line written into it, as often as he likes.
    """

    async def look() -> None:
        while True:
            await asyncio.sleep(timeouts.TRANSFER_LOOK)
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_size > _MUCH:
                    os.truncate(path, 0)

    task = asyncio.create_task(look())
    try:
        yield
    finally:
        await _ended(task)


class Silent(OperationFailed):
    """A transfer in which nothing moves any more."""

    code = "transfer-silent"


async def moving(
    programs: Coroutine[Any, Any, None],
    sign: Callable[[], object],
    *,
    seconds: float,
    peer: str,
) -> None:
    """Run programs as long as ``sign`` changes; ``Silent`` after ``seconds`` in which it did not.

    ``peer`` is the node at the other end.
    """
    running = asyncio.create_task(programs)
    loop = asyncio.get_running_loop()
    last, since = sign(), loop.time()
    try:
        while not running.done():
            await asyncio.wait({running}, timeout=min(timeouts.TRANSFER_LOOK, seconds / 4))
            now = sign()
            if now != last:
                last, since = now, loop.time()
            elif not running.done() and loop.time() - since >= seconds:
                raise Silent(
                    f"nothing has reached node {peer} for {seconds:g} s, so the transfer was ended",
                    f"see whether node {peer}, its disks and the network to it are well, and try "
                    "again",
                    reason=Reason.ENVIRONMENT,
                )
        await running
    finally:
        await _ended(running)


async def answered(
    programs: Coroutine[Any, Any, None], sign: Callable[[], object], peer: Peer, port: int
) -> None:
    """Run programs; ``Silent`` where the peer's machine answers nothing that is sent to that port.

    A script at either end may take its time: it is the network that is looked at.
    """

    def heard() -> object:
        return sign() if signs_of_life.unanswered(peer.host, port) else object()

    await moving(programs, heard, seconds=timeouts.TRANSFER_SILENCE, peer=peer.name)


async def both(programs: Coroutine[Any, Any, None], script: Coroutine[Any, Any, object]) -> None:
    """Until both have ended. Where one fails the other has a few seconds, and is ended.

    Raises what tells more: a broken connection rather than the script that wrote into it.
    """
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(programs), asyncio.create_task(script)]
    try:
        _, late = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        if late:
            await asyncio.wait(late, timeout=timeouts.KILL_GRACE)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    errors = [error for task in tasks if not task.cancelled() and (error := task.exception())]
    for error in errors:
        if isinstance(error, Silent):
            raise error
        if isinstance(error.__cause__, Failed) and error.__cause__.stage.name in _NETWORK:
            raise error
    if errors:
        raise errors[-1]
    if any(task.cancelled() for task in tasks):
        raise OperationFailed("one end of the transfer was ended")


def refused(error: OSError, node: str) -> OperationFailed:
    """What the system refused to an end of a transfer."""
    where = f"{error.filename}: " if error.filename else ""
    return OperationFailed(
        f"{where}{error.strerror or error} (on node {node})",
        reason=Reason.ENVIRONMENT,
        node=node,
    )


def explained(error: Failed, node: str, peer: str | None = None) -> GantryError:
    """What a failed program of ``node`` means; ``peer`` is where it writes to, if elsewhere."""
    stage, said = error.stage, error.message
    if stage.argv[0] == "/bin/sh" and f"status {transfer_programs.STRANGER}" in said:
        return OperationFailed("another transfer came than was waited for", node=node)
    if "No space left" in said:
        full = peer or node
        return OperationFailed(
            f"no space is left on node {full}: {said}",
            "make room there, and try again",
            reason=Reason.NO_RESOURCES,
            node=full,
        )
    hint = "see whether both nodes and the network between them are well, and try again"
    return OperationFailed(f"{said} (on node {node})", hint, node=node)
