"""Disks of instances that are not up, mirrored by a storage daemon on their primary node.

What was activated is kept in a file each below ``var/lib/gantry/active-disks``: where the agent
or the daemon ends by itself, it is begun anew. Code of the hypervisor is loaded with the first.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from gantry.agent.mirror_peers import NodePeers
from gantry.model import names
from gantry.model.entities import DiskTemplate
from gantry.model.errors import GantryError, Rejected
from gantry.model.live import GuestLive, GuestState
from gantry.model.names import Uuid
from gantry.model.replica_orders import DisksActivate
from gantry.ports.agents import Event, GuestChanged
from gantry.storage.mirror import MirrorStorage

if TYPE_CHECKING:
    from collections.abc import Callable

    from gantry.hypervisors.kvm.storage_daemon import StorageDaemon

_log = logging.getLogger(__name__)

DIRECTORY: Final = "var/lib/gantry/active-disks"
_PAUSE: Final = 5.0


class _Active:
    """One instance's."""

    def __init__(self, order: DisksActivate) -> None:
        self.order = order
        self.daemon: StorageDaemon | None = None
        self.watch: asyncio.Task[None] | None = None


class ActiveDisks:
    """All of one agent.

    ``known`` gives what a hypervisor says of a guest, ``told`` is called with what is to be told.
    """

    def __init__(
        self,
        root: Path,
        storage: MirrorStorage,
        peers: NodePeers,
        known: Callable[[Uuid], GuestLive | None],
        told: Callable[[Event], None],
    ) -> None:
        self._root = root
        self._storage = storage
        self._peers = peers
        self._known = known
        self._told = told
        self._active: dict[Uuid, _Active] = {}
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Begin anew what an earlier agent had activated."""
        below = self._root / DIRECTORY
        for entry in tuple(below.iterdir()) if below.is_dir() else ():
            try:
                order = msgspec.json.decode((entry / "order.json").read_bytes(), type=DisksActivate)
            except (OSError, msgspec.MsgspecError) as error:
                _log.warning("%s is not what it should be: %s", entry, error)
                await self._clear(entry)
                continue
            self._follow(order.guest, _Active(order))

    async def close(self) -> None:
        """Follow them no longer; the next agent begins them anew."""
        for active in self._active.values():
            if active.watch is not None:
                active.watch.cancel()
            if active.daemon is not None:
                active.daemon.mirrors.close()

    def holds(self, disk: Uuid) -> bool:
        """Whether that disk is active."""
        return any(
            disk == one.uuid for active in self._active.values() for one in active.order.disks
        )

    def guests(self) -> tuple[GuestLive, ...]:
        """Those whose disks are active, with their mirrors."""
        return tuple(self._live(active) for active in self._active.values())

    def _live(self, active: _Active) -> GuestLive:
        order, daemon = active.order, active.daemon
        known = self._known(order.guest)
        if known is None:
            known = GuestLive(uuid=order.guest, name=order.name, state=GuestState.STOPPED)
        mirrors = daemon.mirrors.live() if daemon is not None else ()
        return msgspec.structs.replace(known, mirrors=mirrors)

    async def activate(self, order: DisksActivate) -> None:
        """Open them, and begin to mirror; those that are active stay."""
        if not names.is_uuid(order.guest):
            raise Rejected(f"{order.guest!r} is not a uuid")
        for disk in order.disks:
            if disk.template is not DiskTemplate.MIRROR:
                raise Rejected(f"disk {disk.index} is of template {disk.template}")
        async with self._turn:
            if order.guest in self._active:
                return
            # Nothing is written to them, but they must be what they should be.
            undo = await self._storage.open(order.disks)
            await undo()
            active = _Active(order)
            await self._begin(active)
            entry = self._root / DIRECTORY / order.guest
            (entry / "order.json").write_bytes(msgspec.json.encode(order))
            self._follow(order.guest, active)
        self._tell(order.guest)

    async def deactivate(self, guest: Uuid) -> None:
        """Close them; nothing where they are not active."""
        async with self._turn:
            active = self._active.pop(guest, None)
            if active is None:
                return
            entry = self._root / DIRECTORY / guest
            (entry / "order.json").unlink(missing_ok=True)
            if active.watch is not None:
                active.watch.cancel()
            if active.daemon is not None:
                await active.daemon.end()
            await self._clear(entry)
            active.daemon = None
            forgotten = self._known(guest) is None
            self._told(GuestChanged(guest=self._live(active), forgotten=forgotten))

    async def release(self, guest: Uuid, index: int, node: Uuid) -> None:
        """Mirror a disk there no longer."""
        active = self._active.get(guest)
        if active is not None and active.daemon is not None:
            await active.daemon.mirrors.release(index, node)

    async def _begin(self, active: _Active) -> None:
        from gantry.hypervisors.kvm.storage_daemon import StorageDaemon

        order = active.order
        made = StorageDaemon(
            order.name,
            self._root / DIRECTORY / order.guest,
            self._peers,
            lambda: self._tell(order.guest),
        )
        paths = {disk.index: self._storage.real_path(disk) for disk in order.disks}
        await made.begin(order.disks, paths)
        active.daemon = made

    def _follow(self, guest: Uuid, active: _Active) -> None:
        self._active[guest] = active
        active.watch = asyncio.create_task(self._again(active))

    async def _again(self, active: _Active) -> None:
        """Whenever the daemon ends by itself, it is begun anew."""
        while True:
            if active.daemon is not None:
                await active.daemon.gone.wait()
                active.daemon.mirrors.close()
                active.daemon = None
            try:
                await self._begin(active)
            except (GantryError, OSError) as error:
                _log.warning("disks of %s are not mirrored: %s", active.order.name, error)
                await asyncio.sleep(_PAUSE)
            self._tell(active.order.guest)

    def _tell(self, guest: Uuid) -> None:
        active = self._active.get(guest)
        if active is not None:
            self._told(GuestChanged(guest=self._live(active)))

    async def _clear(self, entry: Path) -> None:
        from gantry.hypervisors.kvm.storage_daemon import end_leftover

        await end_leftover(entry)
        await asyncio.to_thread(shutil.rmtree, entry, ignore_errors=True)
