"""A node whose disk is full or read-only."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.contract.hypervisors.worlds import KvmWorld, Node

from gantry.hypervisors.kvm.record import Files, Record
from gantry.model.errors import OperationFailed
from gantry.model.live import GuestState

pytestmark = pytest.mark.qemu


async def test_a_full_disk_does_not_keep_a_guest_from_being_stopped(
    node: Node, world: KvmWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = world.spec("web1.gantry.test")
    await node.driver.start(spec)

    def full(_files: Files, _record: Record, *, durably: bool) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Files, "write", full)
    await node.driver.stop(spec.uuid, timeout=1, force=True)

    assert node.guest(spec.uuid).state is GuestState.STOPPED


async def test_a_place_that_cannot_be_written_is_said_plainly(tmp_path: Path) -> None:
    world = KvmWorld(tmp_path)
    spec = world.spec("web1.gantry.test")
    (tmp_path / "var").write_text("a file where a directory should be")
    driver = world.build()

    with pytest.raises(OperationFailed, match=r"web1\.gantry\.test cannot be started: "):
        await driver.start(spec)

    await driver.close()
