"""A guest goes on while its disks are exported, as QEMU itself tells: no time is measured here.

Whatever holds a guest still, by order or because QEMU has trouble, QEMU says so in an event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.contract.hypervisors import worlds
from tests.integration.kvm.disks import MIB, guest, write
from tests.integration.kvm.test_increments import A, B, empty
from tests.integration.kvm.test_snapshot import read

from gantry.hypervisors.kvm import Kvm
from gantry.model.entities import DiskFormat
from gantry.model.live import GuestState
from gantry.model.names import Uuid

pytestmark = pytest.mark.qemu
HELD = {"STOP", "RESUME", "SUSPEND", "WAKEUP", "RESET", "SHUTDOWN", "BLOCK_IO_ERROR"}


@contextmanager
def told(driver: Kvm, uuid: Uuid) -> Iterator[list[str]]:
    """The events of QEMU's meanwhile, in order."""
    events: list[str] = []

    def note(event: str, data: Mapping[str, Any]) -> None:
        events.append(event)

    with driver._running[uuid].listening(note):
        yield events


async def test_neither_a_full_export_nor_an_incremental_one_holds_it(
    world: worlds.KvmWorld, node: worlds.Node, tmp_path: Path
) -> None:
    driver = node.driver
    assert isinstance(driver, Kvm)
    spec = await guest(world, DiskFormat.RAW, DiskFormat.QCOW2)
    first = len(spec.disks) - 2
    uuid = (await driver.start(spec)).uuid
    overlays = {index: str(tmp_path / f"overlay{index}") for index in (first, first + 1)}
    with told(driver, uuid) as events:
        await driver.open_snapshot(uuid, overlays, say=print, mark=A)
        for index in overlays:
            # It writes over what is still to be read, so that QEMU copies that first.
            await write(driver, uuid, index, 2)
            assert (await read(driver, uuid, index, tmp_path / "copy")).startswith(b"\1" * MIB)
        await driver.close_snapshot(uuid, overlays, check=True)
        files = {index: await empty(tmp_path / f"changes{index}") for index in overlays}
        await driver.copy_changes(uuid, files, since=A, mark=B, say=print)
        await driver.end_changes(uuid)
        await driver.drop_marks(uuid, [A])
        monitor = await driver._running[uuid].monitor(20.0)
        assert (await monitor.execute("query-status"))["status"] == "running"
    # That both were done is heard, too: each has a job for each disk.
    assert events.count("BLOCK_JOB_COMPLETED") + events.count("BLOCK_JOB_CANCELLED") == 4
    assert not HELD.intersection(events)
    assert [one.state for one in driver.guests()] == [GuestState.RUNNING]


async def test_what_holds_it_would_be_heard(world: worlds.KvmWorld, node: worlds.Node) -> None:
    driver = node.driver
    assert isinstance(driver, Kvm)
    uuid = (await driver.start(await guest(world, DiskFormat.RAW))).uuid
    monitor = await driver._running[uuid].monitor(20.0)
    with told(driver, uuid) as events:
        await monitor.execute("stop")
        await monitor.execute("cont")
    assert [event for event in events if event in HELD] == ["STOP", "RESUME"]
