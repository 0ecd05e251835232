"""The storage daemons of a node: one a replica that is served to another node.

Each is a process of its own that outlives the agent, holds a lock for as long as it lives, and
is started again at the same port where it ends by itself. What is served is kept in a file
below ``var/lib/gantry/replicas``, written before a daemon starts and gone before it is ended.
See docs/adr/0015-mirror.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from gantry.agent import replica_processes, replica_serving
from gantry.agent.replica_processes import Holders
from gantry.agent.replica_serving import Serving
from gantry.host import daemon, image_locks, life_lock
from gantry.host.daemon import Daemon, Identity
from gantry.model import names, timeouts
from gantry.model.backup_orders import Peer
from gantry.model.errors import GantryError, OperationFailed, Reason, Rejected
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec
from gantry.network import nbd
from gantry.pki import qemu_names
from gantry.storage.mirror import MirrorStorage

if TYPE_CHECKING:
    from gantry.agent.waiting_daemons import WaitingDaemons

_log = logging.getLogger(__name__)

DIRECTORY: Final = "var/lib/gantry/replicas"


class ReplicaDaemons:
    """All of one agent."""

    def __init__(self, root: Path, node: str, storage: MirrorStorage) -> None:
        self.storage = storage
        self._root = root
        self._node = node
        self._serving: dict[Uuid, Serving] = {}
        self._daemons: dict[Uuid, Daemon] = {}
        self._again: dict[Uuid, asyncio.Task[None]] = {}
        self._prepared: WaitingDaemons | None = None
        self._holders = Holders(root / DIRECTORY)
        self._turns: defaultdict[Uuid, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def open(self) -> None:
        """Find the daemons that an earlier agent left; start those again that have ended."""
        below = self._root / DIRECTORY
        if not below.is_dir():
            return
        for entry in below.iterdir():
            if names.is_uuid(entry.name):
                await self._find(Uuid(entry.name))

    async def close(self) -> None:
        """Let go of all; they go on."""
        for task in self._again.values():
            task.cancel()
        await asyncio.gather(*self._again.values(), return_exceptions=True)
        for one in self._daemons.values():
            one.let_go()
        self._daemons.clear()
        await self._holders.close_all()
        if self._prepared is not None:
            await self._prepared.close()

    def served(self, disk: Uuid) -> Serving | None:
        """To whom a replica is served."""
        return self._serving.get(disk)

    async def serve(self, disk: DiskSpec, peer: Peer, host: str, *, overwrite: bool) -> int:
        """Serve it to ``peer`` alone; the port on ``host``. See the order."""
        async with self._turn(disk.uuid):
            waiting = self._waiting().found(disk.uuid)
            if waiting is not None and replica_serving.same(waiting, disk, peer, host):
                return await self._serve_prepared(waiting, disk)
            known = self._serving.get(disk.uuid)
            if known is not None and not await self.storage.exists(disk):
                # Its file was taken away from under the daemon, which goes on in the old one.
                await self._stop(disk)
                known = None
            if known is not None and not replica_serving.same(known, disk, peer, host):
                raise Rejected(
                    f"the replica of disk {disk.index} on {self._node} is served to "
                    f"{known.peer.name} at {known.host}",
                    "it must be closed first",
                    reason=Reason.STATE,
                    node=self._node,
                )
            if known is not None:
                if overwrite:
                    await self.storage.serve(disk, overwrite=True)
                again = self._again.get(disk.uuid)
                if again is not None:
                    await asyncio.wait([again], timeout=timeouts.REPLICA_SERVED)
                await self._answers(known)
                return known.port
            # Before its record says anything else: who has it open may be the guest itself.
            if await asyncio.to_thread(image_locks.held, Path(self.storage.real_path(disk))):
                raise Rejected(
                    f"a process on {self._node} has the replica of disk {disk.index} open already",
                    "a guest that runs there, or what an interrupted job left: look with lsof",
                    reason=Reason.STATE,
                    node=self._node,
                )
            content = await self.storage.serve(disk, overwrite=overwrite)
            return await self._begin(disk, peer, host, content)

    async def prepare(self, disk: DiskSpec, peer: Peer, host: str) -> Serving:
        """Be ready to serve it in that generation, which is to come. See the order."""
        async with self._turn(disk.uuid):
            waiting = self._waiting().found(disk.uuid)
            if waiting is not None and replica_serving.same(waiting, disk, peer, host):
                return waiting
            content = await self.storage.expect(disk)
            await self._holders.open(disk)
            with replica_serving.listening(host, 0) as listener:
                port = listener.getsockname()[1]
                served = Serving(disk=disk, peer=peer, host=host, port=port, content=content)
                path = self.storage.real_path(disk)
                return await self._waiting().begin(served, listener, path)

    async def forgo(self, disk: DiskSpec) -> None:
        """That is not to come; nothing where it has come."""
        async with self._turn(disk.uuid):
            await self._waiting().end(disk.uuid)
            await self.storage.forgo(disk)

    async def end(self, disk: DiskSpec) -> None:
        """Nobody's write reaches the replica any more when this returns."""
        async with self._turn(disk.uuid):
            await self._waiting().end(disk.uuid)
            await self._stop(disk)

    async def about_to_leave(self, disk: DiskSpec) -> None:
        """Make ready what ``leave`` would take time for; nothing changes for whom it serves."""
        async with self._turn(disk.uuid):
            await self._holders.open(disk)

    async def leave(self, disk: DiskSpec) -> Awaitable[None]:
        """The same, where this node is about to write to it itself: it is not closed.

        The other end must have ended its mirror in order. What is given back is to be awaited: it
        comes about once the daemon has ended.
        """
        free: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ending = asyncio.create_task(self._left(disk, free))
        await asyncio.wait([free, ending], return_when=asyncio.FIRST_COMPLETED)
        if ending.done():
            ending.result()
        return ending

    async def _left(self, disk: DiskSpec, free: asyncio.Future[None]) -> None:
        async with self._turn(disk.uuid):
            await self._let_go(disk)
            free.set_result(None)
            await self._stop(disk, close=False)

    async def _let_go(self, disk: DiskSpec) -> None:
        """Its file is nobody's any more, though the daemon that had it may still be ending."""
        if not (self._root / DIRECTORY / disk.uuid).is_dir():
            return
        await self._forget(disk.uuid)
        if not await self._holders.let_go(disk):
            await self._kill(disk.uuid)

    async def _serve_prepared(self, waiting: Serving, disk: DiskSpec) -> int:
        """Whoever it was served to is cut off; where the daemon is gone there is another one.

        Its record fits the new generation already, and says that it is open: it is written anew
        while the other end connects.
        """
        await self._let_go(disk)
        recorded = asyncio.create_task(self.storage.serve(disk, overwrite=False))
        try:
            seen = await self.storage.seen(disk)
            if seen.generation != disk.generation or seen.clean or seen.problem:
                await recorded
            found = await self._waiting().serve(waiting)
        except GantryError as error:
            content = await recorded
            _log.warning("what was to serve replica %s does not: %s", disk.path, error)
            await self._stop(disk, close=False)
            await self._waiting().end(disk.uuid)
            return await self._begin(disk, waiting.peer, waiting.host, content, waiting.port)
        try:
            await recorded
        except BaseException:
            await asyncio.shield(self._waiting().end(disk.uuid))
            raise
        await self._stop(disk, close=False)
        (self._root / DIRECTORY).mkdir(parents=True, exist_ok=True, mode=0o700)
        self._waiting().directory(disk.uuid).rename(self._root / DIRECTORY / disk.uuid)
        self._watch(waiting, found)
        return waiting.port

    def _waiting(self) -> WaitingDaemons:
        """What few nodes ever need is loaded with the first."""
        from gantry.agent.waiting_daemons import WaitingDaemons

        if self._prepared is None:
            self._prepared = WaitingDaemons(self._root)
        return self._prepared

    async def grow(self, disk: DiskSpec) -> None:
        """It has the disk's size, also for the node that it is served to: at the same port.

        That node waits for the moment in which its daemon is another one.
        """
        async with self._turn(disk.uuid):
            await self.storage.grow(disk)
            known = self._serving.get(disk.uuid)
            if known is None or known.disk.size == disk.size:
                return
            again = self._again.pop(disk.uuid, None)
            if again is not None:
                again.cancel()
                await asyncio.wait([again])
            await self._kill(disk.uuid)
            self._serving[disk.uuid] = msgspec.structs.replace(known, disk=disk)
            await asyncio.wait([self._begin_again(disk.uuid)], timeout=timeouts.REPLICA_SERVED)
            await self._answers(known)

    async def _stop(self, disk: DiskSpec, *, close: bool = True) -> None:
        directory = self._root / DIRECTORY / disk.uuid
        if not directory.is_dir():
            return
        await self._forget(disk.uuid)
        await self._kill(disk.uuid)
        if close and await self.storage.exists(disk):
            await self.storage.closed([disk])
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    async def _forget(self, disk: Uuid) -> None:
        """Its daemon is not to be there: no agent starts it again."""
        (self._root / DIRECTORY / disk / replica_serving.FILE).unlink(missing_ok=True)
        self._serving.pop(disk, None)
        again = self._again.pop(disk, None)
        if again is not None:
            again.cancel()
            await asyncio.wait([again])

    @contextlib.asynccontextmanager
    async def _turn(self, disk: Uuid) -> AsyncIterator[None]:
        if not names.is_uuid(disk):
            raise Rejected(f"{disk!r} is not a uuid")
        async with self._turns[disk]:
            try:
                yield
            except GantryError as error:
                error.node = error.node or self._node
                raise
            except OSError as error:
                raise OperationFailed(
                    f"the replica cannot be served: {error.strerror or error}",
                    "see whether the address is this node's, and its disks are not full",
                    reason=Reason.ENVIRONMENT,
                    node=self._node,
                ) from error

    async def _begin(
        self, disk: DiskSpec, peer: Peer, host: str, content: str, port: int = 0
    ) -> int:
        with replica_serving.listening(host, port) as listener:
            port = listener.getsockname()[1]
            served = Serving(disk=disk, peer=peer, host=host, port=port, content=content)
            self._start(served, listener)
        try:
            await self._answers(served)
        except BaseException:
            self._serving.pop(disk.uuid, None)
            (self._root / DIRECTORY / disk.uuid / replica_serving.FILE).unlink(missing_ok=True)
            await self._kill(disk.uuid)
            await self.storage.closed([disk])
            raise
        return port

    def _start(self, served: Serving, listener: socket.socket) -> None:
        """Start the daemon and watch it. It is on disk before, and again with its pid."""
        directory = self._root / DIRECTORY / served.disk.uuid
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        tls = qemu_names.prepare(self._root, self._root / replica_serving.CERTIFICATES)
        path = self.storage.real_path(served.disk)
        found = replica_processes.spawn(directory, served, path, tls, listener.fileno())
        which = found.identity
        served = msgspec.structs.replace(served, pid=which.pid, started=which.started)
        self._watch(served, found)
        replica_serving.write(directory, served)

    def _watch(self, served: Serving, found: Daemon) -> None:
        disk = served.disk.uuid
        self._serving[disk] = served
        self._daemons[disk] = found
        found.watch(lambda how: self._ended(disk, found, how))

    def _ended(self, disk: Uuid, found: Daemon | None, how: str) -> None:
        if self._daemons.get(disk) is not found:
            return  # it was ended by us, or is another one's predecessor
        self._daemons.pop(disk, None)
        served = self._serving.get(disk)
        if served is None or disk in self._again:
            return
        _log.warning("the daemon of replica %s ended: %s", served.disk.path, how or "unseen")
        self._begin_again(disk)

    def _begin_again(self, disk: Uuid) -> asyncio.Task[None]:
        task = asyncio.create_task(self._start_again(disk))
        self._again[disk] = task
        task.add_done_callback(lambda done: self._started_again(disk, done))
        return task

    def _started_again(self, disk: Uuid, task: asyncio.Task[None]) -> None:
        if self._again.get(disk) is task:
            del self._again[disk]
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("bug: a replica is not served any more", exc_info=error)

    async def _start_again(self, disk: Uuid) -> None:
        """Until it answers; then it is watched again."""
        pauses = list(timeouts.REPLICA_AGAIN)
        while True:
            await asyncio.sleep(pauses[0])
            if len(pauses) > 1:
                pauses.pop(0)
            served = self._serving[disk]
            try:
                with replica_serving.listening(served.host, served.port) as listener:
                    self._start(served, listener)
                await self._answers(self._serving[disk])
            except (OSError, GantryError) as error:
                _log.warning("replica %s is not served: %s", served.disk.path, error)
                await self._kill(disk)
                continue
            if disk in self._daemons:
                _log.info("replica %s is served again", served.disk.path)
                return

    async def _answers(self, served: Serving) -> None:
        """Wait until it does. OperationFailed, with the daemon's words, where it ends."""
        try:
            async with asyncio.timeout(timeouts.REPLICA_SERVED):
                # Its socket listened before it began: where it ends the connection ends.
                if await nbd.greets(served.host, served.port):
                    return
        except TimeoutError:
            pass
        errors = self._root / DIRECTORY / served.disk.uuid / "stderr"
        raise OperationFailed(
            f"the replica {served.disk.path} cannot be served: "
            f"{replica_serving.last_words(errors) or 'its daemon does not answer'}",
            "see whether somebody else has the file open, and whether its disk answers",
            reason=Reason.ENVIRONMENT,
            node=self._node,
        )

    async def _kill(self, disk: Uuid) -> None:
        """Its daemon is gone when this returns; OperationFailed where it cannot be ended."""
        await self._holders.close(disk)
        # Whoever watches it reaps it, and finds that it is not to be started again.
        known = self._daemons.pop(disk, None)
        try:
            await replica_processes.killed(self._root / DIRECTORY / disk, known)
        except OperationFailed as error:
            error.node = self._node
            raise

    async def _find(self, disk: Uuid) -> None:
        directory = self._root / DIRECTORY / disk
        try:
            served = replica_serving.read(directory)
        except (OSError, msgspec.MsgspecError) as error:
            # An end that was cut off is finished; what nobody can read is not served either.
            _log.warning("the replica %s is served no more: %s", disk, error)
            await self._kill(disk)
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
            return
        self._serving[disk] = served
        found = None
        if await asyncio.to_thread(life_lock.held, directory / "lock"):
            found = Daemon.adopt(Identity(served.pid, served.started))
            if found is None:
                which = await asyncio.to_thread(daemon.holder, directory / "lock")
                found = Daemon.adopt(which) if which is not None else None
        if found is not None:
            self._watch(served, found)
        else:
            self._ended(disk, None, "")
