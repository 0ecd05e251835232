"""One world a driver: how its guests are made, and how things happen to them from outside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
import uuid as uuids
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import msgspec
from tests.contract.hypervisors import boot_sector

from gantry.host import daemon
from gantry.hypervisors.contract import Console, Hypervisor
from gantry.hypervisors.fake import Fake
from gantry.hypervisors.fake_state import Kept, keep
from gantry.hypervisors.kvm import Kvm, sockets
from gantry.model.entities import DiskTemplate
from gantry.model.live import GuestLive, GuestState
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec, GuestSpec

PATIENCE = 120.0
PORTION = 8192
"""Bytes that a babbling guest says at least before it is asked to go on."""


class World(Protocol):
    """A node's root, a driver on it, and a hand that reaches into guests."""

    root: Path

    def build(self) -> Hypervisor: ...

    def sibling(self) -> World: ...

    def spec(self, name: str, *, obedient: bool = True) -> GuestSpec: ...

    def broken(self, name: str) -> GuestSpec: ...

    async def crash(self, node: Node, guest: GuestLive) -> None: ...

    async def crash_unseen(self, guest: GuestLive) -> None: ...

    async def power_off_unseen(self, guest: GuestLive) -> None: ...

    async def power_off(self, node: Node, guest: GuestLive) -> None: ...

    async def babble(self, console: Console) -> None: ...


class Node:
    """An open driver, with everything that it told."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.driver = world.build()
        self.told: list[GuestLive] = []
        self._news = asyncio.Event()

    async def open(self) -> Node:
        await self.driver.open(self._tell)
        return self

    async def reopen(self, between: Callable[[], object] | None = None) -> None:
        await self.driver.close()
        self.driver = self.world.build()
        self.told.clear()
        await self.driver.open(self._tell)

    def _tell(self, guest: GuestLive) -> None:
        self.told.append(guest)
        self._news.set()

    async def until(self, uuid: Uuid, state: GuestState) -> GuestLive:
        """The news that the guest is in that state."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for guest in self.told:
                    if (guest.uuid, guest.state) == (uuid, state):
                        return guest
                self._news.clear()
                await self._news.wait()

    def guest(self, uuid: Uuid) -> GuestLive:
        return next(each for each in self.driver.guests() if each.uuid == uuid)


async def reads_portion(console: Console) -> None:
    """Take a portion of what the console says."""
    taken = 0
    async with asyncio.timeout(PATIENCE):
        async for data in console.output():
            taken += len(data)
            if taken >= PORTION:
                return
    raise AssertionError("the console ended")


async def reads(console: Console, wanted: bytes) -> bytes:
    """What the console says, up to ``wanted``."""
    seen = b""
    async with asyncio.timeout(PATIENCE):
        output: AsyncIterator[bytes] = console.output()
        async for data in output:
            seen += data
            if wanted in seen:
                return seen
    raise AssertionError(f"the console ended after {seen!r}")


def _spec(name: str, hypervisor: str, disks: tuple[DiskSpec, ...] = ()) -> GuestSpec:
    return GuestSpec(
        uuid=Uuid(str(uuids.uuid4())),
        name=name,
        hypervisor=hypervisor,
        memory=32,
        vcpus=1,
        disks=disks,
        hvparams={},
    )


class FakeWorld:
    """Guests that are made believe."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._failures: dict[str, dict[str, object]] = {}

    def build(self) -> Hypervisor:
        return Fake(self.root)

    def sibling(self) -> World:
        """Another node."""
        return FakeWorld(self.root / "sibling")

    def spec(self, name: str, *, obedient: bool = True) -> GuestSpec:
        if not obedient:
            self._misbehave(name, {"ignores_shutdown": True})
        return _spec(name, "fake")

    def broken(self, name: str) -> GuestSpec:
        self._misbehave(name, {"start": {"error": "no such luck"}})
        return _spec(name, "fake")

    def _misbehave(self, name: str, how: dict[str, object]) -> None:
        self._failures[name] = how
        path = self.root / "etc/gantry/fake-failures.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self._failures))

    async def crash(self, node: Node, guest: GuestLive) -> None:
        assert isinstance(node.driver, Fake)
        node.driver.happen(guest.uuid, GuestState.DIED, "killed by the test")

    async def power_off(self, node: Node, guest: GuestLive) -> None:
        assert isinstance(node.driver, Fake)
        node.driver.happen(guest.uuid, GuestState.SHUT_DOWN)

    async def babble(self, console: Console) -> None:
        await console.write(b"." * PORTION)

    async def crash_unseen(self, guest: GuestLive) -> None:
        self._unseen(guest, GuestState.DIED)

    async def power_off_unseen(self, guest: GuestLive) -> None:
        self._unseen(guest, GuestState.SHUT_DOWN)

    def _unseen(self, guest: GuestLive, state: GuestState) -> None:
        ended = msgspec.structs.replace(guest, state=state, reason="unseen")
        keep(self.root, Kept(ended, "some boot"))


class KvmWorld:
    """Real QEMU processes with boot sectors in them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def build(self) -> Hypervisor:
        self._remember_probe()
        return Kvm(self.root, "node1.gantry.test")

    def sibling(self) -> World:
        """Another node, which sees the disks of this one."""
        other = self.root / "sibling"
        if not other.exists():
            other.mkdir()
            (self.root / "srv").mkdir(exist_ok=True)
            (other / "srv").symlink_to(self.root / "srv")
        return KvmWorld(other)

    def spec(self, name: str, *, obedient: bool = True) -> GuestSpec:
        disk = _disk(f"/srv/{name}/disk0")
        boot_sector.write(self.root / disk.path.lstrip("/"), power_button=obedient)
        return _spec(name, "kvm", (disk,))

    def broken(self, name: str) -> GuestSpec:
        return _spec(name, "kvm", (_disk("/srv/missing/disk0"),))

    async def crash(self, node: Node, guest: GuestLive) -> None:
        os.kill(guest.pid, signal.SIGKILL)

    async def power_off(self, node: Node, guest: GuestLive) -> None:
        console = await node.driver.console(guest.uuid)
        await reads(console, b"up")
        await console.write(b"q")
        await console.close()

    async def babble(self, console: Console) -> None:
        await console.write(b"f")  # from now on it writes without end

    async def crash_unseen(self, guest: GuestLive) -> None:
        os.kill(guest.pid, signal.SIGKILL)
        await _ended(guest.pid)

    async def power_off_unseen(self, guest: GuestLive) -> None:
        connection = self.connect(guest, "serial")
        _, writer = await asyncio.open_unix_connection(sock=connection)
        writer.write(b"q")
        await writer.drain()
        monitor, answers = await asyncio.open_unix_connection(sock=self.connect(guest, "monitor"))
        answers.write(b'{"execute": "qmp_capabilities"}\n')
        async with asyncio.timeout(PATIENCE):
            while b'"shutdown"' not in await monitor.readline():
                # Asked anew with every answer; an event comes between them.
                answers.write(b'{"execute": "query-status"}\n')
        for each in (writer, answers):
            each.close()
            await each.wait_closed()

    def _remember_probe(self) -> None:
        """Carry what was found out about this machine's KVM from one root to the next."""
        kept = self.root / "run/gantry/kvm-probe.json"
        if kept.exists():
            _probed["answer"] = kept.read_bytes()
        elif "answer" in _probed:
            kept.parent.mkdir(parents=True)
            kept.write_bytes(_probed["answer"])

    def connect(self, guest: GuestLive, name: str) -> socket.socket:
        return sockets.connect(self.root / "run/gantry/guests" / guest.uuid, name)


_probed: dict[str, bytes] = {}


def _disk(path: str) -> DiskSpec:
    return DiskSpec(
        uuid=Uuid(str(uuids.uuid4())),
        index=0,
        size=boot_sector.SIZE_MIB,
        path=path,
        template=DiskTemplate.FILE,
    )


async def _ended(pid: int) -> None:
    """Until a process is gone, told by its pidfd."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(pidfd, ended.set)
    try:
        async with asyncio.timeout(PATIENCE):
            await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


def kill_all(root: Path) -> None:
    """End every QEMU that a test left below ``root``."""
    kept = root / "run/gantry/kvm-probe.json"
    if kept.exists():
        _probed["answer"] = kept.read_bytes()
    for lock in root.glob("var/lib/gantry/guests/*/lock"):
        deadline = time.monotonic() + PATIENCE
        while (holder := daemon.holder(lock)) is not None and time.monotonic() < deadline:
            os.kill(holder.pid, signal.SIGKILL)
