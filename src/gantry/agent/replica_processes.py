"""The process that serves a replica: how it is begun, lets go of the file, and is ended."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gantry.agent import replica_programs, replica_serving
from gantry.agent.replica_serving import Serving
from gantry.host import command, daemon, life_lock
from gantry.host.daemon import Daemon
from gantry.hypervisors.kvm import sockets
from gantry.model import timeouts
from gantry.model.errors import GantryError, OperationFailed
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec

if TYPE_CHECKING:
    from gantry.hypervisors.kvm.monitor import Monitor

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


class Holder:
    """A daemon's monitor, for the moment in which it is to let go of the replica's file.

    To kill it takes longer: the kernel waits 30 to 60 ms until nothing uses its queue for direct
    writes (``aio=native``) any more, and only then lets go of its files. A daemon has one client
    at a time.
    """

    def __init__(self, monitor: Monitor, gone: set[str]) -> None:
        self._monitor = monitor
        self._gone = gone

    @classmethod
    async def open(cls, directory: Path, name: str) -> Holder | None:
        """None: it does not answer soon."""
        # What few nodes ever need is loaded with the first.
        from gantry.hypervisors.kvm.monitor import Monitor

        gone = set[str]()

        def told(event: str, data: Mapping[str, Any]) -> None:
            if event == "BLOCK_EXPORT_DELETED":
                gone.add(str(data.get("id")))

        try:
            connection = sockets.connect(directory, MONITOR)
            return cls(await Monitor.open(connection, name, told, _SOON), gone)
        except (OSError, GantryError):
            return None

    @property
    def usable(self) -> bool:
        """Whether the connection stands."""
        return self._monitor.usable

    async def close(self) -> None:
        """Let go of the connection; the daemon goes on."""
        await self._monitor.close()

    async def let_go(self) -> bool:
        """Have it cut off whom it serves, and close the file; False: it does not soon."""
        try:
            async with asyncio.timeout(_SOON):
                await self._monitor.execute_all(
                    [
                        ("block-export-del", {"id": export, "mode": "hard"})
                        for export in replica_programs.EXPORTS
                    ]
                )
                if not await self._monitor.until(self._cut_off, _SOON):
                    return False
                node = {"node-name": replica_programs.NODE}
                await self._monitor.execute_all([("blockdev-del", node)])
                return True
        except (TimeoutError, GantryError):
            return False

    async def _cut_off(self) -> bool:
        return self._gone.issuperset(replica_programs.EXPORTS)


class Holders:
    """Those of one agent, by disk; ``below`` has a directory for each disk's daemon."""

    def __init__(self, below: Path) -> None:
        self._below = below
        self._all: dict[Uuid, Holder] = {}

    async def open(self, disk: DiskSpec) -> None:
        """Be connected to its daemon, if there is one that answers."""
        known = self._all.get(disk.uuid)
        if known is not None and known.usable:
            return
        await self.close(disk.uuid)
        directory = self._below / disk.uuid
        if directory.is_dir():
            found = await Holder.open(directory, disk.path)
            if found is not None:
                self._all[disk.uuid] = found

    async def let_go(self, disk: DiskSpec) -> bool:
        """Have its daemon let go of the file; False: it does not soon."""
        await self.open(disk)
        known = self._all.get(disk.uuid)
        return known is not None and await known.let_go()

    async def close(self, disk: Uuid) -> None:
        """Let go of the connection."""
        known = self._all.pop(disk, None)
        if known is not None:
            await known.close()

    async def close_all(self) -> None:
        """Let go of all."""
        for disk in tuple(self._all):
            await self.close(disk)


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
