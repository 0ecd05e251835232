"""What both ends of a transfer have in common."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

from gantry.agent import transfer_programs
from gantry.agent.parts import Parts
from gantry.host import command
from gantry.host.pipeline import Failed, Stage
from gantry.model import timeouts
from gantry.model.errors import GantryError, OperationFailed, Reason
from gantry.model.names import Uuid
from gantry.pki import files as certificates

_TLS: Final = (
    ("ca-cert.pem", "ca.pem"),
    ("server-cert.pem", "node.pem"),
    ("server-key.pem", "node.key"),
    ("client-cert.pem", "node.pem"),
    ("client-key.pem", "node.key"),
)
"""What QEMU calls the files of certificates, and how they are called here."""
_NETWORK: Final = ("socat", "qemu-img")


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
        )
        for argv, name in zip(argvs, names, strict=True)
    ]


def tls(root: Path, directory: Path) -> None:
    """Put the node's certificates there under the names that QEMU looks for."""
    pki = certificates.directory(root)
    for link, name in _TLS:
        (directory / link).symlink_to(pki / name)


def clear(directory: Path) -> None:
    """Nothing of an end stays."""
    shutil.rmtree(directory, ignore_errors=True)


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


def explained(error: Failed, node: str) -> GantryError:
    """What a failed program means."""
    stage, said = error.stage, error.message
    if stage.argv[0] == "/bin/sh" and f"status {transfer_programs.STRANGER}" in said:
        return OperationFailed("another transfer came than was waited for", node=node)
    if "No space left" in said:
        return OperationFailed(
            f"no space is left on node {node}: {said}",
            "make room there, and try again",
            reason=Reason.NO_RESOURCES,
            node=node,
        )
    hint = "see whether both nodes and the network between them are well, and try again"
    return OperationFailed(f"{said} (on node {node})", hint, node=node)
