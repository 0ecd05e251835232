"""Nodes with replicas of one disk, in one process: one runs the guest, the others serve."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from tests.contract.hypervisors.worlds import KvmWorld, kill_all
from tests.support import numbered_writer
from tests.support.agent_process import TestAuthority, new_uuid

from gantry.agent.mirror_peers import NodePeers
from gantry.agent.replica_daemons import ReplicaDaemons
from gantry.hypervisors.kvm import Kvm
from gantry.hypervisors.kvm.mirrored import Means
from gantry.model.backup_orders import Peer
from gantry.model.entities import DiskTemplate
from gantry.model.live import GuestLive, MirrorLive, MirrorPhase
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec, GuestSpec
from gantry.model.replica_orders import ReplicaSeen
from gantry.model.specs import MirrorTarget
from gantry.network import nbd
from gantry.pki import files
from gantry.storage.mirror import MirrorStorage

DIRECTORY = "/srv/ganeti/file-storage"
PATIENCE = 120.0


class ReplicaNode:
    """One machine: its certificate, its replicas, its daemons."""

    def __init__(self, root: Path, ca: TestAuthority, name: str, host: str = "127.0.0.1") -> None:
        self.root = root
        self.host = host
        self.name = name
        self.uuid = new_uuid()
        self._ca = ca
        issued = ca.authority.issue_node(self.uuid, name, time.time())
        files.write(files.certificate(root, files.CA), ca.authority.certificate)
        files.write(files.certificate(root, files.NODE), issued.certificate)
        files.write(files.key(root, files.NODE), issued.key)
        self.storage = MirrorStorage(root, [DIRECTORY])
        self.daemons = ReplicaDaemons(root, name, self.storage)

    @property
    def peer(self) -> Peer:
        return Peer(node=self.uuid, name=self.name, host=self.host)

    @property
    def means(self) -> Means:
        return Means(replicas=self.storage, peers=NodePeers(self.root, self._ca.cluster))

    def path(self, disk: DiskSpec) -> Path:
        return Path(self.storage.real_path(disk))

    async def create(self, disk: DiskSpec) -> None:
        """A replica on which the numbered writer is, as if it had been copied there."""
        await self.storage.create(disk)
        undo = await self.storage.open([disk])
        assert undo is not None
        numbered_writer.write(self.path(disk), disk.size)
        await self.storage.closed([disk])

    async def serve(
        self, disk: DiskSpec, to: ReplicaNode, *, overwrite: bool = False, full: bool = False
    ) -> MirrorTarget:
        port = await self.daemons.serve(disk, to.peer, self.host, overwrite=overwrite)
        return MirrorTarget(node=self.uuid, name=self.name, host=self.host, port=port, full=full)

    async def restart_agent(self) -> None:
        await self.daemons.close()
        self.daemons = ReplicaDaemons(self.root, self.name, self.storage)
        await self.daemons.open()

    async def seen(self, disk: DiskSpec) -> ReplicaSeen:
        return await self.storage.seen(disk)

    def pid(self, disk: DiskSpec) -> int:
        """Its daemon's."""
        served = self.daemons.served(disk.uuid)
        assert served is not None
        return served.pid

    def kill_daemon(self, disk: DiskSpec) -> None:
        os.kill(self.pid(disk), signal.SIGKILL)

    async def until_served_again(self, disk: DiskSpec) -> None:
        """Until another daemon than that which was killed answers."""
        served = self.daemons.served(disk.uuid)
        assert served is not None
        async with asyncio.timeout(PATIENCE):
            while True:
                if self.pid(disk) != served.pid and await nbd.greets(self.host, served.port):
                    return
                await asyncio.sleep(0.05)  # a daemon tells nobody

    async def vanish(self, disk: DiskSpec, how: signal.Signals = signal.SIGKILL) -> None:
        """Its daemon gets that signal, and nobody starts it again."""
        served = self.daemons.served(disk.uuid)
        assert served is not None
        await self.daemons.close()
        os.kill(served.pid, how)
        if how is signal.SIGKILL:
            await _refused(self.host, served.port)

    async def close(self, disk: DiskSpec) -> None:
        await self.daemons.end(disk)
        await self.daemons.close()


async def _refused(host: str, port: int) -> None:
    """Until nobody listens there any more."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, port)
            except ConnectionRefusedError:
                return
            except ConnectionResetError:
                continue  # it is just ending
            writer.close()
            await asyncio.sleep(0.02)  # a process that is killed tells nobody


class Primary:
    """The driver of the node that runs the guest, and what it told."""

    def __init__(self, node: ReplicaNode) -> None:
        self.node = node
        self.world = KvmWorld(node.root)
        self.world.build()  # remembers what is known of this machine's KVM
        self._news = asyncio.Event()
        self.driver = self._build()
        self.told: list[GuestLive] = []

    def _build(self) -> Kvm:
        return Kvm(self.node.root, self.node.name, None, self.node.means)

    async def open(self) -> None:
        await self.driver.open(self._tell)

    async def restart_agent(self) -> None:
        await self.driver.close()
        self.driver = self._build()
        await self.open()

    def _tell(self, guest: GuestLive) -> None:
        self.told.append(guest)
        self._news.set()

    async def until(self, fits: Callable[[GuestLive], bool]) -> GuestLive:
        """The guest, as soon as it is so."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for guest in self.driver.guests():
                    if fits(guest):
                        return guest
                self._news.clear()
                await self._news.wait()

    async def phase(self, node: ReplicaNode, phase: MirrorPhase) -> MirrorLive:
        """The mirror to that node, as soon as it is in that phase."""

        def wanted(guest: GuestLive) -> MirrorLive | None:
            for one in guest.mirrors:
                if (one.node, one.phase) == (node.uuid, phase):
                    return one
            return None

        found = wanted(await self.until(lambda guest: wanted(guest) is not None))
        assert found is not None
        return found

    def console(self, spec: GuestSpec) -> bytes:
        return (self.node.root / "var/log/gantry/console" / f"{spec.name}.log").read_bytes()

    def acknowledged(self, spec: GuestSpec) -> int:
        """The last number whose write the guest saw acknowledged."""
        return numbered_writer.acknowledged(self.console(spec))

    async def writes(self, spec: GuestSpec, more: int = 20) -> int:
        """Until so many more have been acknowledged; the last one."""
        wanted = self.acknowledged(spec) + more
        async with asyncio.timeout(PATIENCE):
            while True:
                if (last := self.acknowledged(spec)) >= wanted:
                    return last
                await asyncio.sleep(0.05)  # a console's log tells nobody

    async def holds(self, spec: GuestSpec) -> int:
        """Until no write is acknowledged for a second; the last one that was."""
        async with asyncio.timeout(PATIENCE):
            while True:
                last = self.acknowledged(spec)
                await asyncio.sleep(1.0)
                if self.acknowledged(spec) == last:
                    return last

    async def close(self) -> None:
        await self.driver.close()
        kill_all(self.node.root)


def disk_spec() -> DiskSpec:
    return DiskSpec(
        uuid=new_uuid(),
        index=0,
        size=numbered_writer.SIZE_MIB,
        path=f"{DIRECTORY}/web1/disk0",
        template=DiskTemplate.MIRROR,
        generation=1,
    )


def guest_spec(disk: DiskSpec, *targets: MirrorTarget) -> GuestSpec:
    return GuestSpec(
        uuid=Uuid(new_uuid()),
        name="web1.gantry.test",
        hypervisor="kvm",
        memory=32,
        vcpus=1,
        disks=(msgspec.structs.replace(disk, targets=targets),),
        hvparams={"disk_cache": "none"},
    )
