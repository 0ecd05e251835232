"""What every driver knows of changes since an earlier moment."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.contract.hypervisors.worlds import KvmWorld, Node, World

from gantry.host import command
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.names import Uuid
from gantry.model.orders import GuestSpec

A, B, C = (Uuid(f"00000000-0000-4000-8000-00000000000{letter}") for letter in "abc")


async def files(spec: GuestSpec, tmp_path: Path) -> dict[int, str]:
    made: dict[int, str] = {}
    for disk in spec.disks:
        path = tmp_path / f"changes{disk.index}"
        path.unlink(missing_ok=True)
        argv = ["qemu-img", "create", "-q", "-f", "qcow2", str(path), f"{disk.size}M"]
        await command.run(argv, timeout=60)
        made[disk.index] = str(path)
    return made


async def begin(node: Node, spec: GuestSpec, tmp_path: Path, mark: Uuid) -> None:
    overlays = {disk.index: str(tmp_path / f"overlay{disk.index}") for disk in spec.disks}
    await node.driver.open_snapshot(spec.uuid, overlays, say=print, mark=mark)
    await node.driver.close_snapshot(spec.uuid, overlays, check=True)


async def test_marks_are_kept_until_they_are_dropped_or_the_guest_ends(
    world: World, node: Node, tmp_path: Path
) -> None:
    spec = world.spec("web1.gantry.test")
    await node.driver.start(spec)
    assert await node.driver.marks(spec.uuid) == {}
    await begin(node, spec, tmp_path, A)
    indexes = tuple(disk.index for disk in spec.disks)
    # A guest without disks has nothing to count; the fake one is told of it all the same.
    there = {A: indexes} if indexes or not isinstance(world, KvmWorld) else {}
    assert await node.driver.marks(spec.uuid) == there
    await node.reopen()
    made = await files(spec, tmp_path)
    await node.driver.copy_changes(spec.uuid, made, since=A, mark=B, say=print)
    assert set(await node.driver.marks(spec.uuid)) == {A, B}
    await node.driver.copy_changes(spec.uuid, made, since=B, mark=C, say=print)
    assert set(await node.driver.marks(spec.uuid)) == {B, C}
    for _ in range(2):
        await node.driver.drop_marks(spec.uuid, [A, B])
        await node.driver.end_changes(spec.uuid)
        assert set(await node.driver.marks(spec.uuid)) == {C}
    # Another first point begins anew.
    await begin(node, spec, tmp_path, A)
    assert set(await node.driver.marks(spec.uuid)) == {A}
    await node.driver.stop(spec.uuid, timeout=0, force=True)
    assert await node.driver.marks(spec.uuid) == {}
    await node.driver.drop_marks(spec.uuid, [A])
    await node.driver.end_changes(spec.uuid)
    await node.driver.start(spec)
    assert await node.driver.marks(spec.uuid) == {}


async def test_nothing_is_copied_of_what_is_not_counted(
    world: World, node: Node, tmp_path: Path
) -> None:
    spec = world.spec("web1.gantry.test")
    made = await files(spec, tmp_path) or {0: str(tmp_path / "none")}
    with pytest.raises(Rejected, match="not running"):
        await node.driver.copy_changes(spec.uuid, made, since=A, mark=B, say=print)
    await node.driver.start(spec)
    with pytest.raises(OperationFailed):
        await node.driver.copy_changes(spec.uuid, made, since=A, mark=B, say=print)
    assert await node.driver.marks(spec.uuid) == {}
