"""The process that serves a replica: how it is begun, lets go of the file, and is ended."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gantry.agent import replica_programs, replica_serving
from gantry.agent.replica_serving import Serving
from gantry.host import command, daemon, life_lock
from gantry.host.daemon import Daemon
from gantry.hypervisors.kvm import sockets
from gantry.model import timeouts
from gantry.model.errors import GantryError, OperationFailed

MONITOR: Final = "monitor"
_MOMENT: Final = 0.05
_SOON: Final = 1.0
"""Seconds in which one lets go of its file, before it is killed for that."""


def spawn(directory: Path, served: Serving, path: str, tls: Path, listener: int) -> Daemon:
    """One for the file at ``path``, which is on record in ``directory`` before.

    OSError, OperationFailed: it cannot be started.
    """
    lock = life_lock.take(directory / "lock")
    if lock is None:
        raise OperationFailed(f"an earlier daemon of {served.disk.path} is still there")
    try:
        replica_serving.write(directory, served)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        errors = os.open(directory / "stderr", flags, 0o600)
        try:
            with sockets.listen(directory, MONITOR) as monitor:
                direct = replica_serving.takes_direct(path)
                return daemon.spawn(
                    replica_programs.storage_daemon(
                        served, path, tls, listener, monitor.fileno(), direct=direct
                    ),
                    inherited=[lock, listener, monitor.fileno()],
                    errors=errors,
                    environment=command.ENVIRONMENT,
                )
        finally:
            os.close(errors)
    finally:
        os.close(lock)


async def let_go(directory: Path, name: str) -> bool:
    """Have one cut off whom it serves, and close the replica's file; False: it does not soon.

    To kill it takes longer: the kernel waits 30 to 60 ms until nothing uses its queue for direct
    writes (``aio=native``) any more, and only then lets go of its files.
    """
    # What few nodes ever need is loaded with the first.
    from gantry.hypervisors.kvm.monitor import Monitor

    gone = set[str]()

    def told(event: str, data: Mapping[str, Any]) -> None:
        if event == "BLOCK_EXPORT_DELETED":
            gone.add(str(data.get("id")))

    async def cut_off() -> bool:
        return gone.issuperset(replica_programs.EXPORTS)

    try:
        async with asyncio.timeout(_SOON):
            connection = sockets.connect(directory, MONITOR)
            monitor = await Monitor.open(connection, name, told, _SOON)
            try:
                await monitor.execute_all(
                    [
                        ("block-export-del", {"id": export, "mode": "hard"})
                        for export in replica_programs.EXPORTS
                    ]
                )
                if not await monitor.until(cut_off, _SOON):
                    return False
                node = {"node-name": replica_programs.NODE}
                await monitor.execute_all([("blockdev-del", node)])
                return True
            finally:
                await monitor.close()
    except (OSError, TimeoutError, GantryError):
        return False


async def killed(directory: Path, known: Daemon | None) -> None:
    """That of a directory is gone when this returns; OperationFailed where it cannot be ended.

    ``known``: which it should be.
    """
    try:
        async with asyncio.timeout(timeouts.URGENT):
            if known is not None:
                await _killed(known)
            while await asyncio.to_thread(life_lock.held, directory / "lock"):
                which = await asyncio.to_thread(daemon.holder, directory / "lock")
                found = Daemon.adopt(which) if which is not None else None
                if found is None:
                    await asyncio.sleep(_MOMENT)
                    continue
                await _killed(found)
    except TimeoutError:
        raise OperationFailed(
            f"the daemon of replica {directory.name} cannot be killed",
            "it waits in the kernel, most likely for a disk; only that can free it",
        ) from None


async def _killed(one: Daemon) -> None:
    gone = asyncio.Event()
    one.watch(lambda _how: gone.set())
    one.kill()
    await gone.wait()
