"""Local disks go with a guest that runs: their content, their holes, and how they are opened."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.contract.hypervisors import boot_sector
from tests.contract.hypervisors.test_moving import Pair
from tests.contract.hypervisors.worlds import KvmWorld, Node, reads

from gantry.hypervisors.kvm import Kvm
from gantry.model import timeouts
from gantry.model.entities import DiskFormat, DiskTemplate
from gantry.model.errors import OperationFailed
from gantry.model.live import GuestState
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec, GuestSpec

pytestmark = pytest.mark.qemu
DATA = os.urandom(1 << 20)
SIZE = 32


class Apart(KvmWorld):
    """A second node with disks of its own."""

    def sibling(self) -> KvmWorld:
        return Apart(self.root / "sibling")


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    pair = Pair(Apart(tmp_path), tmp_path)
    for node in (pair.here, pair.there):
        await node.open()
    yield pair
    for node in (pair.here, pair.there):
        for guest in node.driver.guests():
            await node.driver.stop(guest.uuid, timeout=0, force=True)
        await node.driver.close()


def path(node: Node, disk: DiskSpec) -> Path:
    return node.world.root / disk.path.lstrip("/")


def furnished(pair: Pair) -> GuestSpec:
    """Two disks: the first boots, the second has 1 MiB of data and a large hole."""
    spec = pair.here.world.spec("web1.gantry.test")
    second = DiskSpec(
        uuid=Uuid("00000000-0000-4000-8000-000000000010"),
        index=1,
        size=SIZE,
        path="/srv/web1.gantry.test/disk1",
        template=DiskTemplate.FILE,
        format=DiskFormat.RAW,
    )
    spec = msgspec.structs.replace(spec, disks=(*spec.disks, second))
    with path(pair.here, second).open("wb") as file:
        file.seek(8 << 20)
        file.write(DATA)
        file.truncate(SIZE << 20)
    for disk in spec.disks:
        empty = path(pair.there, disk)
        empty.parent.mkdir(parents=True, exist_ok=True)
        empty.touch()
        os.truncate(empty, disk.size << 20)
    return spec


async def test_content_and_holes_go_with_the_guest(pair: Pair) -> None:
    spec = furnished(pair)
    await pair.here.driver.start(spec)
    await reads(await pair.here.driver.console(spec.uuid), b"up")
    ports = await pair.receive(spec, (0, 1))
    assert ports.disks
    await pair.send(spec, ports, disks=(0, 1))
    await pair.here.driver.stop(spec.uuid, timeout=0, force=True)
    await pair.there.driver.resume(spec.uuid)
    console = await pair.there.driver.console(spec.uuid)
    await console.write(b"x")
    await reads(console, b"x")
    assert isinstance(pair.there.driver, Kvm)
    monitor = await pair.there.driver._running[spec.uuid].monitor(timeouts.QMP)
    assert await monitor.execute("query-block-exports") == []
    await pair.there.driver.stop(spec.uuid, timeout=0, force=True)
    for disk in spec.disks:
        assert path(pair.there, disk).read_bytes() == path(pair.here, disk).read_bytes()
    assert path(pair.there, spec.disks[1]).read_bytes()[8 << 20 : 9 << 20] == DATA
    assert path(pair.there, spec.disks[1]).stat().st_blocks * 512 < 4 << 20
    assert spec.disks[0].size == boot_sector.SIZE_MIB


async def test_where_a_disk_cannot_be_copied_the_guest_goes_on(pair: Pair) -> None:
    spec = furnished(pair)
    await pair.here.driver.start(spec)
    ports = await pair.receive(spec, (0, 1))
    await pair.there.driver.stop(spec.uuid, timeout=0, force=True)
    with pytest.raises(OperationFailed):
        await pair.send(spec, ports, disks=(0, 1))
    assert pair.here.guest(spec.uuid).state is GuestState.RUNNING
    # Nothing of it stays: it can be tried again.
    assert isinstance(pair.here.driver, Kvm)
    monitor = await pair.here.driver._running[spec.uuid].monitor(timeouts.QMP)
    assert await monitor.execute("query-block-jobs") == []
    await pair.there.driver.forget(spec.uuid)
    await pair.send(spec, await pair.receive(spec, (0, 1)), disks=(0, 1))
    assert (await pair.there.driver.resume(spec.uuid)).state is GuestState.RUNNING
