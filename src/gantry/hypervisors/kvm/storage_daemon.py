"""Disks of a guest that is not up, opened by a storage daemon that mirrors them.

The same mirrors as a guest's, with nobody who writes: what is copied makes the replicas equal.
The daemon holds a lock as long as it lives; one that an earlier agent left is ended.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gantry.host import daemon, life_lock
from gantry.host.daemon import Daemon
from gantry.hypervisors.contract import Peers
from gantry.hypervisors.kvm import sockets
from gantry.hypervisors.kvm.devices import encode
from gantry.hypervisors.kvm.facts import ENVIRONMENT
from gantry.hypervisors.kvm.mirrors import Mirrors
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.model import timeouts
from gantry.model.errors import GantryError, OperationFailed, Unavailable
from gantry.model.orders import DiskSpec

_GRACE: Final = 5.0
_MOMENT: Final = 0.05


class StorageDaemon:
    """One instance's disks. ``directory`` is its own; ``changed``: a mirror does something else.

    ``gone`` is set once its process has ended, ordered or not.
    """

    def __init__(
        self, name: str, directory: Path, peers: Peers, changed: Callable[[], None]
    ) -> None:
        self.gone = asyncio.Event()
        self._name = name
        self._directory = directory
        self._process: Daemon | None = None
        self._monitor: Monitor | None = None
        self._connecting = asyncio.Lock()
        """It serves one client at a time: a second connection would wait for the first to end."""
        self.mirrors = Mirrors(name, peers, self._connected, changed, device=False)

    async def begin(self, disks: Sequence[DiskSpec], paths: Mapping[int, str]) -> None:
        """Open the disks (``paths`` by index) and mirror them; nothing stays where that fails."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        await end_leftover(self._directory)
        lock = life_lock.take(self._directory / "lock")
        if lock is None:
            raise OperationFailed(f"an earlier daemon of {self._name} is still there")
        try:
            self._process = self._spawn(lock, disks, paths)
        finally:
            os.close(lock)
        self._process.watch(self._ended)
        try:
            await self._connected(timeouts.QMP)  # it waits for that
            await self.mirrors.begin(disks)
        except BaseException:
            await asyncio.shield(self.end())
            raise

    async def end(self) -> None:
        """End it in order; its process is gone when this returns."""
        self.mirrors.ending()
        try:
            await (await self._connected(_GRACE)).execute("quit", _GRACE)
            async with asyncio.timeout(_GRACE):
                await self.gone.wait()
        except (GantryError, TimeoutError):
            await end_leftover(self._directory)
        self.mirrors.close()
        if self._monitor is not None:
            await self._monitor.close()
            self._monitor = None

    async def _connected(self, timeout: float) -> Monitor:
        async with self._connecting:
            if self._monitor is not None and self._monitor.usable:
                return self._monitor
            try:
                connection = sockets.connect(self._directory, "monitor")
            except OSError as error:
                raise Unavailable(f"the storage daemon of {self._name} is gone: {error}") from error
            self._monitor = await Monitor.open(connection, self._name, self._told, timeout)
            return self._monitor

    def _told(self, event: str, data: Mapping[str, Any]) -> None:
        if event.startswith("BLOCK_JOB_"):
            self.mirrors.told(event, data)

    def _ended(self, _how: str) -> None:
        self.gone.set()

    def _spawn(self, lock: int, disks: Sequence[DiskSpec], paths: Mapping[int, str]) -> Daemon:
        argv = ["qemu-storage-daemon"]
        for disk in disks:
            file = {"driver": "file", "filename": paths[disk.index], "locking": "on"}
            node = {"driver": "raw", "node-name": f"disk{disk.index}", "file": file}
            argv += ["--blockdev", encode(node)]
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        errors = os.open(self._directory / "stderr", flags, 0o600)
        try:
            with sockets.listen(self._directory, "monitor") as listener:
                argv += sockets.monitor_options(listener.fileno())
                return daemon.spawn(
                    argv,
                    inherited=[lock, listener.fileno()],
                    errors=errors,
                    environment=ENVIRONMENT,
                )
        finally:
            os.close(errors)


async def end_leftover(directory: Path) -> None:
    """No daemon of that directory is there any more. OperationFailed where it cannot be ended."""
    lock = directory / "lock"
    try:
        async with asyncio.timeout(timeouts.URGENT):
            while await asyncio.to_thread(life_lock.held, lock):
                which = await asyncio.to_thread(daemon.holder, lock)
                found = Daemon.adopt(which) if which is not None else None
                if found is not None:
                    found.kill()
                    found.let_go()
                await asyncio.sleep(_MOMENT)
    except TimeoutError:
        raise OperationFailed(f"the storage daemon in {directory} cannot be killed") from None
