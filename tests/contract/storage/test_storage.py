"""What every storage driver promises."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import msgspec
import pytest

from gantry.model.entities import DiskFormat
from gantry.model.errors import OperationFailed, Rejected
from gantry.model.orders import DiskSpec
from gantry.storage import growing
from gantry.storage.contract import Storage
from gantry.storage.file import beside
from gantry.storage.raw_view import raw_view

DIRECTORY = "srv/ganeti/disks"


def virtual_size(path: str) -> int:
    answer = subprocess.run(
        ["qemu-img", "info", "--output=json", path], capture_output=True, check=True
    )
    size: int = json.loads(answer.stdout)["virtual-size"]
    return size


def use(disk: DiskSpec, path: str) -> None:
    argv = ["qemu-io", "-f", disk.format.value, "-c", "write 0 64k", path]
    subprocess.run(argv, check=True, capture_output=True)


def holds_use(disk: DiskSpec, path: str) -> bool:
    argv = ["qemu-io", "-r", "-f", disk.format.value, "-c", "read -P 0xcd 0 64k", path]
    return b"failed" not in subprocess.run(argv, check=True, capture_output=True).stdout


def files(root: Path) -> list[str]:
    return sorted(str(each.relative_to(root)) for each in root.rglob("*") if each.is_file())


async def test_a_new_disk_is_there_with_its_size_and_takes_no_room(
    storage: Storage, disk: DiskSpec
) -> None:
    assert not await storage.exists(disk)

    await storage.create(disk)

    assert await storage.exists(disk)
    path = Path(storage.real_path(disk))
    assert virtual_size(str(path)) == 64 << 20
    assert path.stat().st_blocks * 512 < 1 << 20
    assert path.stat().st_mode & 0o077 == 0


async def test_creating_it_again_is_a_success_while_it_is_empty(
    storage: Storage, disk: DiskSpec
) -> None:
    await storage.create(disk)
    await storage.create(disk)


async def test_a_disk_with_content_is_never_taken_for_a_new_one(
    storage: Storage, disk: DiskSpec
) -> None:
    await storage.create(disk)
    use(disk, storage.real_path(disk))

    with pytest.raises(Rejected, match="exists already"):
        await storage.create(disk)


async def test_a_disk_of_another_size_is_not_taken_either(storage: Storage, disk: DiskSpec) -> None:
    await storage.create(disk)

    with pytest.raises(Rejected, match="not an empty disk of 32 MiB"):
        await storage.create(msgspec.structs.replace(disk, size=32))


async def test_removing_takes_the_directory_with_the_last_disk(
    storage: Storage, disk: DiskSpec, tmp_path: Path
) -> None:
    second = msgspec.structs.replace(disk, index=1, path=disk.path[:-1] + "1")
    await storage.create(disk)
    await storage.create(second)

    await storage.remove(disk)
    assert await storage.exists(second)
    await storage.remove(second)
    await storage.remove(second)

    assert list((tmp_path / DIRECTORY).iterdir()) == []


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/srv/ganeti/disks",
        "/srv/ganeti/disks/../../etc/passwd",
        "/srv/ganeti/disks-of-others/disk0",
        "relative",
        "/srv/ganeti/disks/a\nb",
    ],
)
async def test_no_path_leads_out_of_the_directory(
    storage: Storage, disk: DiskSpec, path: str
) -> None:
    stray = msgspec.structs.replace(disk, path=path)
    for work in (storage.create, storage.remove, storage.exists):
        with pytest.raises(Rejected):
            await work(stray)
    with pytest.raises(Rejected):
        storage.real_path(stray)


async def test_no_link_leads_out_of_the_directory(
    storage: Storage, disk: DiskSpec, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "disk0").write_text("precious")
    (tmp_path / DIRECTORY / "web1.gantry.test").symlink_to(outside)

    with pytest.raises(Rejected, match="leads out"):
        await storage.remove(disk)

    assert (outside / "disk0").read_text() == "precious"


async def test_links_in_a_circle_are_refused(
    storage: Storage, disk: DiskSpec, tmp_path: Path
) -> None:
    (tmp_path / DIRECTORY / "web1.gantry.test").symlink_to("web1.gantry.test")

    with pytest.raises(Rejected, match="in a circle"):
        await storage.remove(disk)


async def test_a_disk_that_is_a_link_is_refused(
    storage: Storage, disk: DiskSpec, tmp_path: Path
) -> None:
    directory = tmp_path / DIRECTORY / "web1.gantry.test"
    directory.mkdir()
    (directory / "disk0").symlink_to("/dev/null")

    with pytest.raises(Rejected, match="symbolic link"):
        await storage.create(disk)


async def test_a_disk_that_does_not_fit_says_how_much_is_free(
    storage: Storage, disk: DiskSpec, tmp_path: Path
) -> None:
    giant = msgspec.structs.replace(disk, size=1 << 40)

    with pytest.raises(OperationFailed, match=rf"{disk.path} needs {1 << 40} MiB, and \d+ MiB"):
        await storage.create(giant)

    assert files(tmp_path) == []


async def test_a_directory_that_cannot_be_written_is_said_plainly(
    storage: Storage, disk: DiskSpec, tmp_path: Path
) -> None:
    # A file where the instance's directory should be fails for root as for anybody.
    (tmp_path / DIRECTORY / "web1.gantry.test").write_text("")

    with pytest.raises(OperationFailed, match=rf"{disk.path}, 64 MiB\) cannot be made: .*free"):
        await storage.create(disk)


async def test_a_size_of_nothing_is_refused(storage: Storage, disk: DiskSpec) -> None:
    with pytest.raises(Rejected):
        await storage.create(msgspec.structs.replace(disk, size=0))


async def test_what_scripts_write_into_the_raw_view_is_in_the_disk(
    storage: Storage, disk: DiskSpec, tmp_path: Path
) -> None:
    await storage.create(disk)

    async with raw_view(storage, disk) as path:
        assert Path(path).stat().st_size == 64 << 20
        with Path(path).open("r+b") as file:
            file.seek(1 << 20)
            file.write(b"installed")

    assert files(tmp_path) == [disk.path.lstrip("/")]
    async with raw_view(storage, disk) as path:
        assert Path(path).read_bytes()[1 << 20 :][:9] == b"installed"


async def test_a_failed_script_leaves_no_half_of_a_disk(
    storage: Storage, disk: DiskSpec, tmp_path: Path
) -> None:
    await storage.create(disk)

    with pytest.raises(ZeroDivisionError):
        async with raw_view(storage, disk):
            raise ZeroDivisionError

    assert files(tmp_path) == [disk.path.lstrip("/")]


async def test_a_disk_moves_and_may_be_moved_again(storage: Storage, disk: DiskSpec) -> None:
    await storage.create(disk)
    use(disk, storage.real_path(disk))
    content = Path(storage.real_path(disk)).read_bytes()
    path = disk.path.replace("/web1", "/www.example.com")
    moved = msgspec.structs.replace(disk, path=path)
    assert path != disk.path

    for _ in range(2):
        await storage.move(disk, path)

    assert Path(storage.real_path(moved)).read_bytes() == content
    assert not Path(storage.real_path(disk)).parent.exists()
    await storage.move(moved, disk.path)
    assert Path(storage.real_path(disk)).read_bytes() == content
    assert not Path(storage.real_path(moved)).parent.exists()


async def test_what_was_left_beside_a_disk_does_not_stay_where_it_was(
    storage: Storage, disk: DiskSpec
) -> None:
    await storage.create(disk)
    path = Path(storage.real_path(disk))
    beside(path, "raw").write_bytes(b"a copy that an interrupted script had")
    await storage.move(disk, disk.path.replace("/web1", "/www.example.com"))
    assert not path.parent.exists()


async def test_a_disk_never_moves_over_another_one(storage: Storage, disk: DiskSpec) -> None:
    other = msgspec.structs.replace(disk, path=disk.path.replace("/web1", "/www.example.com"))
    for one in (disk, other):
        await storage.create(one)
    with pytest.raises(Rejected, match="exists already"):
        await storage.move(disk, other.path)
    assert await storage.exists(disk)
    assert await storage.exists(other)


async def test_a_disk_that_is_not_there_cannot_move(storage: Storage, disk: DiskSpec) -> None:
    path = disk.path.replace("/web1", "/www.example.com")
    with pytest.raises(OperationFailed, match="cannot be moved"):
        await storage.move(disk, path)
    assert not Path(storage.real_path(disk)).parent.exists()


@pytest.mark.parametrize("path", ["/etc/disk0", "/srv/ganeti/disks/../x/disk0", "disk0"])
async def test_a_disk_does_not_leave_the_directories(
    storage: Storage, disk: DiskSpec, path: str
) -> None:
    await storage.create(disk)
    with pytest.raises(Rejected):
        await storage.move(disk, path)
    assert await storage.exists(disk)


async def test_what_was_just_made_is_told_from_what_is_used(
    storage: Storage, disk: DiskSpec
) -> None:
    assert not await storage.untouched(disk)
    await storage.create(disk)
    assert await storage.untouched(disk)
    larger = msgspec.structs.replace(disk, size=disk.size + 1)
    assert not await storage.untouched(larger)
    use(disk, storage.real_path(disk))
    assert not await storage.untouched(disk)


async def test_it_grows_and_keeps_what_is_on_it(storage: Storage, disk: DiskSpec) -> None:
    await storage.create(disk)
    path = Path(storage.real_path(disk))
    use(disk, str(path))
    assert growing.size(disk, path) == 64 << 20
    await growing.grow(disk, path, 100)
    assert virtual_size(str(path)) == growing.size(disk, path) == 100 << 20
    assert holds_use(disk, str(path))
    await growing.grow(disk, path, 80)
    assert virtual_size(str(path)) == 100 << 20
    with pytest.raises(OperationFailed, match="MiB are free"):
        await growing.grow(disk, path, 1 << 40)
    assert virtual_size(str(path)) == 100 << 20


async def test_what_is_no_disk_has_no_size(storage: Storage, disk: DiskSpec) -> None:
    path = Path(storage.real_path(disk))
    with pytest.raises(OperationFailed, match="No such file"):
        growing.size(disk, path)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no image" * 100)
    if disk.format is DiskFormat.QCOW2:
        with pytest.raises(OperationFailed, match="is no qcow2 image"):
            growing.size(disk, path)
