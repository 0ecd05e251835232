"""What has changed in a running guest's disks since an earlier moment."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.hypervisors import worlds
from tests.integration.kvm.disks import MIB, SIZE, guest, io, nodes, write

from gantry.host import command
from gantry.hypervisors.kvm import Kvm, increments
from gantry.model.entities import DiskFormat
from gantry.model.errors import OperationFailed
from gantry.model.live import GuestState
from gantry.model.names import Uuid

pytestmark = pytest.mark.qemu
A, B, C = (Uuid(f"00000000-0000-4000-8000-00000000000{letter}") for letter in "abc")


async def begin(driver: Kvm, uuid: Uuid, tmp_path: Path, indexes: list[int], mark: Uuid) -> None:
    """As a full export does."""
    overlays = {index: str(tmp_path / f"overlay{index}") for index in indexes}
    await driver.open_snapshot(uuid, overlays, say=print, mark=mark)
    await driver.close_snapshot(uuid, overlays, check=True)


async def empty(path: Path) -> str:
    path.unlink(missing_ok=True)
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-F", "raw", "-b", "elsewhere"]
    await command.run([*argv, str(path), f"{SIZE}M"], timeout=60)
    return str(path)


async def content(path: str, base: Path) -> bytes:
    """Upon another image, whatever the file itself says."""
    image = f"driver=qcow2,file.filename={path},backing.driver=raw,backing.file.filename={base}"
    out = base.with_name("out")
    await command.run(["qemu-img", "convert", "--image-opts", image, str(out)], timeout=60)
    return out.read_bytes()


async def test_changes_of_one_moment_on_all_disks(
    world: worlds.KvmWorld, node: worlds.Node, tmp_path: Path
) -> None:
    driver = node.driver
    assert isinstance(driver, Kvm)
    spec = await guest(world, DiskFormat.RAW, DiskFormat.QCOW2)
    indexes = [len(spec.disks) - 2, len(spec.disks) - 1]
    uuid = (await driver.start(spec)).uuid
    before = await nodes(driver, uuid)
    assert await driver.marks(uuid) == {}
    await begin(driver, uuid, tmp_path, indexes, A)
    base = tmp_path / "base"
    base.write_bytes((b"\1" * MIB).ljust(SIZE * MIB, b"\0"))
    for index in indexes:
        await write(driver, uuid, index, 2, "3M 512")
        await io(driver, uuid, index, "write -z 0 64k")
    # Another agent goes on with it.
    await node.reopen()
    driver = node.driver
    assert isinstance(driver, Kvm)
    assert await driver.marks(uuid) == {A: tuple(indexes)}
    files = {index: await empty(tmp_path / f"changes{index}") for index in indexes}
    await driver.copy_changes(uuid, files, since=A, mark=B, say=print)
    assert set(await driver.marks(uuid)) == {A, B}
    assert await nodes(driver, uuid) == before
    wanted = bytearray(base.read_bytes())
    wanted[:65536] = bytes(65536)
    wanted[3 * MIB : 3 * MIB + 512] = b"\2" * 512
    for path in files.values():
        assert await content(path, base) == wanted
        assert Path(path).stat().st_size < MIB
    # From here on since B; what was not kept is counted since A all the same.
    await driver.drop_marks(uuid, [A])
    await write(driver, uuid, indexes[0], 5, "7M 64k")
    files = {index: await empty(tmp_path / f"changes{index}") for index in indexes}
    await driver.copy_changes(uuid, files, since=B, mark=C, say=print)
    assert (await content(files[indexes[0]], base))[7 * MIB] == 5
    assert await content(files[indexes[1]], base) == base.read_bytes()
    await driver.end_changes(uuid)
    await driver.stop(uuid, timeout=0, force=True)
    assert await driver.marks(uuid) == {}
    await driver.drop_marks(uuid, [C])
    await driver.end_changes(uuid)


async def test_a_mark_is_gone_with_the_process_and_nothing_is_copied_then(
    world: worlds.KvmWorld, node: worlds.Node, tmp_path: Path
) -> None:
    driver = node.driver
    assert isinstance(driver, Kvm)
    spec = await guest(world, DiskFormat.RAW)
    index = len(spec.disks) - 1
    uuid = (await driver.start(spec)).uuid
    await begin(driver, uuid, tmp_path, [index], A)
    await driver.stop(uuid, timeout=0, force=True)
    await driver.start(spec)
    before = await nodes(driver, uuid)
    files = {index: await empty(tmp_path / "changes")}
    with pytest.raises(OperationFailed, match="does not know any more"):
        await driver.copy_changes(uuid, files, since=A, mark=B, say=print)
    assert await driver.marks(uuid) == {}
    assert await nodes(driver, uuid) == before


async def test_what_an_agent_that_died_had_begun_is_ended(
    world: worlds.KvmWorld, node: worlds.Node, tmp_path: Path
) -> None:
    driver = node.driver
    assert isinstance(driver, Kvm)
    spec = await guest(world, DiskFormat.RAW)
    index = len(spec.disks) - 1
    uuid = (await driver.start(spec)).uuid
    before = await nodes(driver, uuid)
    await begin(driver, uuid, tmp_path, [index], A)
    await write(driver, uuid, index, 2, "0 4M")
    # As copy_changes does it, but so slowly that it is under way.
    monitor = await driver._running[uuid].monitor(20.0)
    await increments._target(monitor, index, await empty(tmp_path / "changes"))
    backup = increments._backup(index, A)
    backup["data"]["speed"] = 65536
    actions = [increments.begin_counting(index, B), backup]
    await monitor.execute("transaction", actions=actions)
    [job] = await monitor.execute("query-jobs")
    assert job["status"] == "running"
    await node.reopen()
    driver = node.driver
    assert isinstance(driver, Kvm)
    await driver.end_changes(uuid)
    assert await nodes(driver, uuid) == before
    await driver.copy_changes(
        uuid, {index: await empty(tmp_path / "changes")}, since=A, mark=C, say=print
    )
    # What the dead one had begun to count is counted no longer.
    assert set(await driver.marks(uuid)) == {A, C}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2M", "none", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.root
async def test_no_room_for_the_copy_hurts_nobody(
    world: worlds.KvmWorld, node: worlds.Node, tmp_path: Path, small: Path
) -> None:
    driver = node.driver
    assert isinstance(driver, Kvm)
    spec = await guest(world, DiskFormat.RAW)
    index = len(spec.disks) - 1
    uuid = (await driver.start(spec)).uuid
    await begin(driver, uuid, tmp_path, [index], A)
    await write(driver, uuid, index, 2, "0 7M")
    before = await nodes(driver, uuid)
    files = {index: await empty(small / "changes")}
    with pytest.raises(OperationFailed, match="No space left"):
        await driver.copy_changes(uuid, files, since=A, mark=B, say=print)
    assert set(await driver.marks(uuid)) == {A}
    assert await nodes(driver, uuid) == before
    await write(driver, uuid, index, 3, "0 1M")
    [live] = await driver.read_guests()
    assert live.state is GuestState.RUNNING
    # The next one, where there is room, has all that changed since.
    files = {index: await empty(tmp_path / "changes")}
    await driver.copy_changes(uuid, files, since=A, mark=C, say=print)
    base = tmp_path / "base"
    base.write_bytes(bytes(SIZE * MIB))
    assert (await content(files[index], base))[: 7 * MIB] == b"\3" * MIB + b"\2" * 6 * MIB
