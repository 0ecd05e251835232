"""Disks of a guest that runs: made larger while it writes to them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.contract.hypervisors import worlds
from tests.integration.kvm.disks import MIB, SIZE, guest, write

from gantry.hypervisors.kvm import Kvm
from gantry.model.entities import DiskFormat
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.names import Uuid

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
    with pytest.raises(OperationFailed, match="has had no disk 9"):
        await driver.resize_disk(uuid, 9, SIZE)
    await driver.stop(uuid, timeout=0, force=True)
    with pytest.raises(Rejected):
        await driver.resize_disk(uuid, first, 3 * SIZE)
