"""Storage daemons that are to serve a replica to its next primary, and wait for that moment.

One is a process of its own with the replica's file open, but with no lock of it and nothing
exported: whoever writes there goes on. It listens already; a node that calls it is told that
there is nothing yet. When it is told to, it takes the lock, and serves; then it is an ordinary one
(``replica_daemons``). It outlives the agent: what it is for is in a file beside its lock.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from pathlib import Path
from typing import Final

import msgspec

from gantry.agent import replica_programs, replica_serving
from gantry.agent.replica_serving import Serving
from gantry.host import command, daemon, life_lock
from gantry.host.daemon import Daemon, Identity
from gantry.hypervisors.kvm import sockets, storage_daemon
from gantry.hypervisors.kvm.monitor import Monitor
from gantry.model.errors import OperationFailed, Unavailable
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec
from gantry.pki import qemu_names

DIRECTORY: Final = "var/lib/gantry/replicas-next"
_MONITOR: Final = "monitor"


class WaitingDaemons:
    """All of one agent."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._processes: dict[Uuid, Daemon] = {}
        self._monitors: dict[Uuid, Monitor] = {}
        """Of those that this agent has started: none is opened while a guest stands still."""

    def directory(self, disk: Uuid) -> Path:
        """Where all of one is; an ordinary one's can be made of it by renaming."""
        return self._root / DIRECTORY / disk

    async def close(self) -> None:
        """Let go of all; they go on."""
        for one in self._processes.values():
            one.let_go()
        self._processes.clear()
        for disk in tuple(self._monitors):
            await self._hang_up(disk)

    def found(self, disk: Uuid) -> Serving | None:
        """What one waits to serve of that disk; whether it lives is not asked."""
        try:
            return replica_serving.read(self.directory(disk))
        except (OSError, msgspec.MsgspecError):
            return None

    async def begin(self, served: Serving, listener: socket.socket, path: str) -> Serving:
        """Start one for the file at ``path``; gives back which process it is.

        OSError, OperationFailed, Unavailable: it does not come up, and nothing of it stays.
        """
        disk = served.disk
        await self.end(disk.uuid)
        try:
            process = self._spawn(served, path, listener.fileno())
            process.watch(lambda _how: None)  # it is reaped
            self._processes[disk.uuid] = process
            which = process.identity
            served = msgspec.structs.replace(served, pid=which.pid, started=which.started)
            await self._monitor(disk)  # it is there
            await asyncio.to_thread(replica_serving.write, self.directory(disk.uuid), served)
        except BaseException:
            await asyncio.shield(self.end(disk.uuid))
            raise
        return served

    async def serve(self, waiting: Serving) -> Daemon:
        """From now on it serves; the process, which is the caller's to watch.

        OperationFailed, Unavailable: it is gone, or somebody else has the file locked.
        """
        monitor = await self._monitor(waiting.disk)
        try:
            exports = replica_programs.exports(waiting.disk.uuid, waiting.content)
            await monitor.execute_all([("block-export-add", export) for export in exports])
        finally:
            await self._hang_up(waiting.disk.uuid)
        process = self._processes.pop(waiting.disk.uuid, None) or Daemon.adopt(
            Identity(waiting.pid, waiting.started)
        )
        if process is None:
            raise OperationFailed(f"the daemon of {waiting.disk.path} has just ended")
        return process

    async def end(self, disk: Uuid) -> None:
        """There is none for that replica any more. OperationFailed where it cannot be ended."""
        where = self.directory(disk)
        if not where.is_dir():
            return
        self._processes.pop(disk, None)
        await self._hang_up(disk)
        await storage_daemon.end_leftover(where)
        await asyncio.to_thread(shutil.rmtree, where, ignore_errors=True)

    async def _hang_up(self, disk: Uuid) -> None:
        monitor = self._monitors.pop(disk, None)
        if monitor is not None:
            await monitor.close()

    async def _monitor(self, disk: DiskSpec) -> Monitor:
        """It has one client at a time."""
        known = self._monitors.get(disk.uuid)
        if known is not None and known.usable:
            return known
        await self._hang_up(disk.uuid)
        try:
            connection = sockets.connect(self.directory(disk.uuid), _MONITOR)
        except OSError as error:
            raise Unavailable(f"the daemon of {disk.path} is gone: {error}") from error
        opened = await Monitor.open(connection, disk.path, lambda _event, _data: None)
        self._monitors[disk.uuid] = opened
        return opened

    def _spawn(self, served: Serving, path: str, listener: int) -> Daemon:
        where = self.directory(served.disk.uuid)
        where.mkdir(parents=True, mode=0o700)
        tls = qemu_names.prepare(self._root, self._root / replica_serving.CERTIFICATES)
        lock = life_lock.take(where / "lock")
        if lock is None:
            raise OperationFailed(f"an earlier daemon of {served.disk.path} is still there")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        errors = os.open(where / "stderr", flags, 0o600)
        direct = replica_serving.takes_direct(path)
        try:
            with sockets.listen(where, _MONITOR) as monitor:
                return daemon.spawn(
                    replica_programs.waiting_daemon(
                        path, served.peer, tls, listener, monitor.fileno(), direct=direct
                    ),
                    inherited=[lock, listener, monitor.fileno()],
                    errors=errors,
                    environment=command.ENVIRONMENT,
                )
        finally:
            os.close(errors)
            os.close(lock)
