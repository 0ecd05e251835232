"""Loop devices and mounts that a script leaves behind are found, cleared away, and said."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.osdefs.definitions import write
from tests.integration.osdefs.test_create import Site
from tests.support.cluster import eventually

from gantry.host import leftovers

pytestmark = pytest.mark.root


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    before = os.umask(0o077)  # an agent's
    found = Site(tmp_path)
    found.disk = tmp_path / "disks/web1/disk0"
    found.disk.parent.mkdir(parents=True)
    with found.disk.open("wb") as disk:
        disk.truncate(16 << 20)
    yield found
    os.umask(before)
    # What a test that failed has left must not be left.
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        if str(tmp_path) in line.split(" ")[4]:
            subprocess.run(["umount", "-l", line.split(" ")[4]], check=False)
    for device in loop_devices(tmp_path):
        subprocess.run(["losetup", "-d", device], check=False)


def loop_devices(below: Path) -> list[str]:
    listed = subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout
    return [line.partition(":")[0] for line in listed.splitlines() if str(below) in line]


async def detached(below: Path) -> None:
    """The kernel lets go of a loop device once nobody has it open any more, a moment later."""
    await asyncio.to_thread(eventually, "none attached", lambda: not loop_devices(below), 30)


async def command(*argv: str | Path) -> bytes:
    process = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
    said, _ = await process.communicate()
    assert process.returncode == 0, argv
    return said


def mounts(below: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if str(below) in line]


MOUNT = """
mkfs.ext4 -q -F "$DISK_0_PATH"
device=$(losetup --find --show "$DISK_0_PATH")
mkdir -p "{place}"
mount "$device" "{place}"
mkdir "{place}/proc"
mount -t tmpfs none "{place}/proc"
"""


async def test_a_mounted_disk_and_all_below_it_are_cleared_away(site: Site) -> None:
    place = site.root / "some where"
    write(site.os, scripts={"create": MOUNT.format(place=place)})
    await site.create()
    assert mounts(place) == []
    await detached(site.root)
    said = "\n".join(site.lines)
    assert f"create left the mount {place}/proc behind: cleared away" in said
    assert f"create left the mount {place} behind: cleared away" in said
    assert f" of {site.disk} behind: cleared away" in said
    # Unmounted in order: what was written is there.
    assert await command("blkid", "-o", "value", "-s", "TYPE", site.disk) == b"ext4\n"


async def test_a_process_that_keeps_a_mount_busy_is_ended_first(site: Site) -> None:
    place = site.root / "busy"
    body = MOUNT.format(place=place) + f'(cd "{place}" && exec setsid sleep 1000) &\n'
    write(site.os, scripts={"create": body})
    await site.create()
    assert mounts(place) == []
    await detached(site.root)
    assert "process" in site.lines[-4]


async def test_they_are_cleared_away_after_a_failure_too(site: Site) -> None:
    place = site.root / "failed"
    write(site.os, scripts={"create": MOUNT.format(place=place) + "exit 5\n"})
    assert "exit status 5" in (await site.failure()).message
    assert mounts(place) == []
    await detached(site.root)


async def test_a_script_that_takes_too_long_leaves_nothing_either(site: Site) -> None:
    place = site.root / "late"
    body = MOUNT.format(place=place) + "sleep 1000\n"
    write(site.os, scripts={"create": body})
    assert "did not end within" in (await site.failure(timeout=2)).message
    assert mounts(place) == []
    await detached(site.root)


async def test_mounts_in_the_definition_are_cleared_away(site: Site) -> None:
    path = write(site.os, scripts={"create": "mkdir mnt; mount -t tmpfs none mnt"})
    await site.create()
    assert mounts(site.root) == []
    assert site.lines == [f"create left the mount {path}/mnt behind: cleared away"]


async def test_what_was_there_before_and_what_is_elsewhere_stays(site: Site) -> None:
    other = site.root / "other.img"
    other.write_bytes(b"\0" * (1 << 20))
    await command("losetup", "--find", other)
    before = site.root / "before"
    before.mkdir()
    await command("mount", "-t", "tmpfs", "none", before)
    elsewhere = site.root / "elsewhere"
    elsewhere.mkdir()
    write(site.os, scripts={"create": f'mount -t tmpfs none "{elsewhere}"'})
    await site.create()
    assert len(mounts(site.root)) == 2
    assert len(loop_devices(site.root)) == 1
    assert site.lines == []


async def test_disks_of_another_instance_further_down_are_left_in_peace(site: Site) -> None:
    """Its script runs at the same time, and a file-storage-dir leads below this one's disks."""
    other = Path(site.disk).parent / "other"
    other.mkdir()
    theirs = f"""
own=$(losetup --find --show "$DISK_0_PATH")
truncate -s 1M "{other}/disk"
losetup --find "{other}/disk"
mkdir "{other}/mnt"
mount -t tmpfs none "{other}/mnt"
"""
    write(site.os, scripts={"create": theirs})
    await site.create()
    assert len(mounts(other)) == 1
    assert len(loop_devices(site.root)) == 1
    assert len(site.lines) == 1
    assert f" of {site.disk} behind: cleared away" in site.lines[0]


def test_a_loop_device_with_partitions_and_mappings_is_read_as_a_whole(tmp_path: Path) -> None:
    loop = tmp_path / "loop3"
    (loop / "loop").mkdir(parents=True)
    (loop / "loop/backing_file").write_text("/srv/disk0 (deleted)\n")
    (loop / "dev").write_text("7:3\n")
    (loop / "loop3p1").mkdir()
    (loop / "loop3p1/dev").write_text("259:0\n")
    (loop / "holders/dm-0").mkdir(parents=True)
    (tmp_path / "dm-0/dm").mkdir(parents=True)
    (tmp_path / "dm-0/dm/name").write_text("loop3p1\n")
    (tmp_path / "dm-0/dev").write_text("254:0\n")
    (tmp_path / "loop4/loop").mkdir(parents=True)
    devices = frozenset({"7:3", "259:0", "254:0"})
    assert leftovers.loops(tmp_path) == [
        leftovers.Loop("loop3", "/srv/disk0", devices, ("loop3p1",))
    ]


@pytest.fixture
def small(site: Site) -> Iterator[Path]:
    """A file system of 4 MiB, for disks or for logs."""
    place = site.root / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4M", "none", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


async def test_a_script_that_fills_the_disk_is_told_apart(site: Site, small: Path) -> None:
    site.disk = small / "disk0"
    site.disk.touch()
    write(site.os, scripts={"create": 'dd if=/dev/zero of="$DISK_0_PATH" bs=1M count=8'})
    error = await site.failure()
    assert f"the file system of {site.disk} is full: 0 MiB free" in error.message
    assert "No space left" in error.message
    assert "make room" in (error.hint or "")


async def test_a_log_that_fills_its_file_system_holds_nothing_up(site: Site, small: Path) -> None:
    site.logs = small / "logs"
    write(site.os, scripts={"create": "yes 0123456789 | head -c 8388608; exit 0"})
    log = await site.create()
    assert site.lines[-1] == f"its log {log} is not complete: No space left on device"
    assert log.stat().st_size <= 4 << 20


async def test_a_disk_that_is_attached_or_mounted_is_known_and_can_be_released(site: Site) -> None:
    disk, place = str(site.disk), site.root / "place"
    place.mkdir()
    assert leftovers.attached([disk]) == ()
    assert leftovers.release(disk) == leftovers.Cleared()
    await command("mkfs.ext4", "-q", "-F", disk)
    device = (await command("losetup", "--find", "--show", disk)).decode().strip()
    assert leftovers.attached([disk]) == (f"{disk} is {device}",)
    await command("mount", device, place)
    await command("losetup", "--detach", device)  # goes once it is unmounted
    assert leftovers.attached([disk, "/other"]) == (f"{disk} is {device}, mounted on {place}",)
    assert leftovers.attached(["/other"]) == ()
    cleared = leftovers.release(disk)
    assert (len(cleared.gone), cleared.stuck) == (2, ())
    assert leftovers.attached([disk]) == ()
    await detached(site.root)
