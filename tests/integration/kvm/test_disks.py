"""Disks of a guest that runs: made larger while it writes to them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import msgspec
import pytest
from tests.contract.hypervisors import worlds
from tests.integration.kvm.disks import MIB, SIZE, guest, write
from tests.support.guest_kernel import GuestKernel, guest_kernel

from gantry.hypervisors.kvm import Kvm
from gantry.model.entities import DiskFormat, DiskTemplate
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.names import Uuid
from gantry.model.orders import DiskSpec

__all__ = ["guest_kernel"]
pytestmark = pytest.mark.qemu


def sizes(root: Path, index: int) -> int:
    path = root / f"srv/ganeti/file-storage/web1/disk{index}"
    argv = ["qemu-img", "info", "-U", "--output=json", str(path)]
    said = subprocess.run(argv, check=True, capture_output=True).stdout
    size: int = json.loads(said)["virtual-size"]
    return size


async def seen(driver: Kvm, uuid: Uuid, index: int) -> int:
    """Bytes that the guest's device has."""
    monitor = await driver._running[uuid].monitor(20.0)
    [found] = [
        one["inserted"]["image"]["virtual-size"]
        for one in await monitor.execute("query-block")
        if one["qdev"].split("/")[3] == f"drive{index}"
    ]
    return int(found)


async def test_a_disk_grows_under_its_guest_and_never_shrinks(
    world: worlds.KvmWorld, node: worlds.Node
) -> None:
    driver = node.driver
    assert isinstance(driver, Kvm)
    spec = await guest(world, DiskFormat.RAW, DiskFormat.QCOW2)
    first = len(spec.disks) - 2
    uuid = (await driver.start(spec)).uuid
    for index in (first, first + 1):
        assert await driver.resize_disk(uuid, index, 2 * SIZE)
        assert await seen(driver, uuid, index) == sizes(world.root, index) == 2 * SIZE * MIB
        await driver.resize_disk(uuid, index, SIZE)
        assert await seen(driver, uuid, index) == 2 * SIZE * MIB
        await write(driver, uuid, index, 3)
    # A later agent knows the size that it has now.
    await node.reopen()
    driver = node.driver
    assert isinstance(driver, Kvm)
    kept = driver._running[uuid].record.spec.disks
    assert [one.size for one in kept[first:]] == [2 * SIZE, 2 * SIZE]
    assert not await driver.resize_disk(uuid, 9, SIZE), "the guest does not have it yet"
    await driver.stop(uuid, timeout=0, force=True)
    with pytest.raises(Rejected):
        await driver.resize_disk(uuid, first, 3 * SIZE)


async def new_disk(root: Path, index: int) -> DiskSpec:
    """Made beside the guest's others."""
    path = root / f"srv/ganeti/file-storage/web1/disk{index}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(MIB))
    return DiskSpec(
        uuid=Uuid(f"00000000-0000-4000-8000-0000000000{index:02d}"),
        index=index,
        size=1,
        path=f"/srv/ganeti/file-storage/web1/disk{index}",
        template=DiskTemplate.FILE,
    )


async def test_a_disk_comes_to_a_guest_and_goes(
    world: worlds.KvmWorld, node: worlds.Node, guest_kernel: GuestKernel
) -> None:
    spec = msgspec.structs.replace(
        world.spec("web1.gantry.test"),
        memory=128,
        hvparams={
            "kernel_path": str(guest_kernel.kernel),
            "initrd_path": str(guest_kernel.initrd),
            "kernel_args": "rdinit=/bin/sh panic=-1",
        },
    )
    await node.driver.start(spec)
    console = await node.driver.console(spec.uuid)

    async def typed(line: str, answer: bytes) -> None:
        # The answer is not among what is echoed.
        await console.write(line.encode() + b"\n")
        await worlds.reads(console, answer)

    await worlds.reads(console, b"/ # ")
    await typed("mount -t proc proc /proc; mount -t sysfs sys /sys; echo go''ing", b"going")
    await typed("modprobe -a virtio_pci virtio_blk; cat /proc/partitions; echo r''eady", b"ready")
    disk = await new_disk(world.root, 1)
    for _ in range(2):
        await node.driver.plug_disk(spec.uuid, disk)
    await typed("until grep -q vdb /proc/partitions; do sleep 1; done; echo se''en", b"seen")
    await node.driver.resize_disk(spec.uuid, 1, 3)
    await typed("until grep -q '3072 vdb' /proc/partitions; do sleep 1; done; echo b''ig", b"big")
    await console.close()
    # Another agent knows it, and takes it away.
    await node.reopen()
    for _ in range(2):
        await node.driver.unplug_disk(spec.uuid, disk, 20.0)
    console = await node.driver.console(spec.uuid)
    await typed("grep -q vdb /proc/partitions || echo go''ne", b"gone")
    await node.driver.plug_disk(spec.uuid, disk)
    await typed("until grep -q vdb /proc/partitions; do sleep 1; done; echo ba''ck", b"back")
    # One that goes when nobody waits for it any more comes back, as the record says.
    assert isinstance(node.driver, Kvm)
    monitor = await node.driver._running[spec.uuid].monitor(20.0)
    await typed("seen=$(dmesg | grep -c vdb); echo cou''nted", b"counted")
    await monitor.execute("device_del", id="drive1")
    again = "until [ $(dmesg | grep -c vdb) -gt $seen ]; do sleep 1; done; echo ag''ain"
    await typed(again, b"again")
    await typed("grep -q vdb /proc/partitions && echo st''ays", b"stays")
    await console.close()


async def test_a_guest_that_keeps_a_disk_keeps_it(
    world: worlds.KvmWorld, node: worlds.Node
) -> None:
    spec = world.spec("web1.gantry.test")
    await node.driver.start(spec)
    disk = await new_disk(world.root, 1)
    await node.driver.plug_disk(spec.uuid, disk)
    for _ in range(2):
        with pytest.raises(OperationFailed, match="does not let go of disk 1"):
            await node.driver.unplug_disk(spec.uuid, disk, 0.5)
    [live] = await node.driver.read_guests()
    assert live.up
    missing = await new_disk(world.root, 2)
    (world.root / missing.path.lstrip("/")).unlink()
    with pytest.raises(OperationFailed, match="No such file"):
        await node.driver.plug_disk(spec.uuid, missing)
    await new_disk(world.root, 2)
    await node.driver.plug_disk(spec.uuid, missing)
