"""The content that a guest's disks had at one moment, while the guest goes on writing."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from tests.contract.hypervisors import worlds
from tests.integration.kvm.disks import MIB, SIZE, guest, nodes, write

from gantry.host import command
from gantry.hypervisors.kvm import Kvm
from gantry.model.entities import DiskFormat
from gantry.model.errors import OperationFailed
from gantry.model.names import Uuid

pytestmark = pytest.mark.qemu


async def read(driver: Kvm, uuid: Uuid, index: int, target: Path) -> bytes:
    """The snapshot."""
    served = driver.snapshot(uuid)
    assert served is not None
    opened = os.open(served, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # A socket's path is to be short.
        where = f"/proc/{os.getpid()}/fd/{opened}/snapshot"
        source = f"driver=raw,file.driver=nbd,file.server.type=unix,file.server.path={where}"
        argv = ["qemu-img", "convert", "--image-opts", "-O", "raw"]
        await command.run([*argv, f"{source},file.export=disk{index}", str(target)], timeout=60)
    finally:
        os.close(opened)
    return target.read_bytes()


async def test_it_is_of_one_moment_on_all_disks_and_leaves_nothing(
    world: worlds.KvmWorld, node: worlds.Node, tmp_path: Path
) -> None:
    driver = node.driver
    assert isinstance(driver, Kvm)
    spec = await guest(world, DiskFormat.RAW, DiskFormat.QCOW2)
    first = len(spec.disks) - 2
    uuid = (await driver.start(spec)).uuid
    before = await nodes(driver, uuid)
    overlays = {index: str(tmp_path / f"overlay{index}") for index in (first, first + 1)}
    began = time.monotonic()
    await driver.open_snapshot(uuid, overlays, say=print)
    assert time.monotonic() - began < 10
    for index in overlays:
        await write(driver, uuid, index, 2)
        content = await read(driver, uuid, index, tmp_path / "copy")
        assert len(content) == SIZE * MIB
        assert content.startswith(b"\1" * MIB + b"\0")
    # Another agent takes it over, and ends it.
    await node.reopen()
    driver = node.driver
    assert isinstance(driver, Kvm)
    await driver.close_snapshot(uuid, overlays, check=True)
    assert await nodes(driver, uuid) == before
    assert not any(Path(path).exists() for path in overlays.values())
    # What was there is overwritten by a new one, and the second end finds nothing to do.
    await driver.open_snapshot(uuid, overlays, say=print)
    assert (await read(driver, uuid, first, tmp_path / "copy")).startswith(b"\2" * MIB)
    for _ in range(2):
        await driver.close_snapshot(uuid, overlays)
    await asyncio.wait_for(driver.stop(uuid, timeout=0, force=True), 30)
    await driver.close_snapshot(uuid, overlays)


async def test_one_that_was_not_kept_to_the_end_is_said(
    world: worlds.KvmWorld, node: worlds.Node, tmp_path: Path
) -> None:
    driver = node.driver
    assert isinstance(driver, Kvm)
    spec = await guest(world, DiskFormat.RAW)
    index = len(spec.disks) - 1
    uuid = (await driver.start(spec)).uuid
    overlays = {index: str(tmp_path / "overlay")}
    await driver.open_snapshot(uuid, overlays, say=print)
    monitor = await driver._running[uuid].monitor(20.0)
    # As QEMU does by itself where the overlay cannot be written.
    await monitor.execute("block-job-cancel", device=f"snapshot{index}", force=True)
    with pytest.raises(OperationFailed, match="was not kept"):
        await driver.close_snapshot(uuid, overlays, check=True)
    assert not (tmp_path / "overlay").exists()


async def test_what_qemu_refuses_leaves_nothing(
    world: worlds.KvmWorld, node: worlds.Node, tmp_path: Path
) -> None:
    driver = node.driver
    spec = await guest(world, DiskFormat.RAW)
    index = len(spec.disks) - 1
    uuid = (await driver.start(spec)).uuid
    with pytest.raises(OperationFailed):
        await driver.open_snapshot(uuid, {index: str(tmp_path / "no/such/directory")}, say=print)
    assert isinstance(driver, Kvm)
    assert not [name for name in await nodes(driver, uuid) if name.startswith("snapshot")]
