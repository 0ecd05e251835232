"""The definition iso: an empty disk, an installer that boots until something is installed."""

import struct
from pathlib import Path

import pytest
from tests.integration.os_images.booted_guest import booted
from tests.integration.os_images.definition import Definition, empty_disk, instance, loop_device

MEBIBYTE = 1 << 20


def _boot_code(text: str) -> bytes:
    """Writes the text to the first serial port and waits for ever."""
    code = b"\xba\xf8\x03" + b"".join(b"\xb0" + bytes([byte]) + b"\xee" for byte in text.encode())
    return (code + b"\xf4\xeb\xfd").ljust(510, b"\0") + b"\x55\xaa"


def _installer(place: Path) -> Path:
    """A CD-ROM that boots (El Torito, no emulation) and says so."""
    descriptor = b"\x01CD001\x01".ljust(2048, b"\0")
    record = (b"\0CD001\x01" + b"EL TORITO SPECIFICATION".ljust(64, b"\0")) + struct.pack("<I", 19)
    first = bytearray(b"\x01\0\0\0" + bytes(24) + b"\0\0\x55\xaa")
    first[28:30] = struct.pack("<H", -sum(struct.unpack("<16H", first)) & 0xFFFF)
    entry = struct.pack("<BBHBBHI20x", 0x88, 0, 0, 0, 0, 4, 20)
    sectors = [descriptor, record, b"\xffCD001\x01", bytes(first) + entry]
    image = bytes(16 * 2048) + b"".join(sector.ljust(2048, b"\0") for sector in sectors)
    path = place / "installer.iso"
    path.write_bytes((image + _boot_code("installer\r\n")).ljust(MEBIBYTE, b"\0"))
    return path


def _variables(disk: Path | None, cdrom: Path | str) -> dict[str, str]:
    return instance(disk, OS_NAME="iso", INSTANCE_HV_cdrom_image_path=str(cdrom))


@pytest.mark.qemu
async def test_the_installer_boots_until_a_system_is_on_the_disk(
    iso: Definition, place: Path, disk: Path
) -> None:
    cdrom = _installer(place)
    with disk.open("r+b") as file:
        file.write(_boot_code("old system\r\n"))
    done = iso.run("create", _variables(disk, cdrom), unprivileged=True)
    assert done.status == 0, done.said
    # As Gantry starts it with its default boot order: disk.
    devices = (
        *("-drive", f"file={disk},format=raw,if=none,id=d0"),
        *("-device", "virtio-blk-pci,drive=d0,bootindex=0"),
        *("-drive", f"file={cdrom},format=raw,media=cdrom,if=none,id=c0"),
        *("-device", "ide-cd,drive=c0"),
    )
    async with booted(None, "", *devices) as guest:
        assert "system" not in await guest.wait_for("installer")
    with disk.open("r+b") as file:
        file.write(_boot_code("installed system\r\n"))
    async with booted(None, "", *devices) as guest:
        assert await guest.wait_for("system") == "installed system"


def test_create_clears_what_was_at_both_ends_of_the_disk(
    iso: Definition, place: Path, disk: Path
) -> None:
    disk.write_bytes(b"x" * (5 * MEBIBYTE + 512))
    done = iso.run("create", _variables(disk, _installer(place)))
    assert done.status == 0, done.said
    found = disk.read_bytes()
    assert len(found) == 5 * MEBIBYTE + 512
    assert found[:MEBIBYTE] == found[-MEBIBYTE:] == bytes(MEBIBYTE)
    assert found[MEBIBYTE:-MEBIBYTE] == b"x" * (3 * MEBIBYTE + 512)


def test_create_says_where_there_is_no_installer(iso: Definition, disk: Path) -> None:
    done = iso.run("create", _variables(disk, ""))
    assert done.status == 0
    assert b"no installer is set: give one with gnt-instance modify -H" in done.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"INSTANCE_HV_cdrom_image_path": "/nowhere.iso"}, "cannot be read on this node"),
        ({"INSTANCE_HV_cdrom_image_path": "/etc/passwd"}, "is no ISO 9660 image"),
        ({"DISK_0_PATH": "/nowhere"}, "is neither a file nor a block device"),
        ({"DISK_0_PATH": ""}, "DISK_0_PATH is not set"),
        ({"INSTANCE_NAME": "a b"}, "is not a host name"),
    ],
)
def test_create_refuses_bad_input(
    iso: Definition, disk: Path, change: dict[str, str], message: str
) -> None:
    disk.write_bytes(b"x" * MEBIBYTE)
    done = iso.run("create", _variables(disk, "") | change)
    assert done.status == 1
    assert message in done.stderr
    assert disk.read_bytes() == b"x" * MEBIBYTE


def test_an_exported_disk_comes_back_and_keeps_its_name(
    iso: Definition, place: Path, disk: Path
) -> None:
    with disk.open("r+b") as file:
        file.seek(100 * MEBIBYTE)
        file.write(b"installed")
    dump = iso.run("export", instance(disk, EXPORT_DEVICE=str(disk)))
    assert dump.status == 0, dump.stderr
    assert len(dump.stdout) < MEBIBYTE
    other = empty_disk(place / "other", 256 * MEBIBYTE)
    done = iso.run("import", instance(other, IMPORT_DEVICE=str(other)), stdin=dump.stdout)
    assert done.status == 0, done.said
    assert other.read_bytes() == disk.read_bytes()
    done = iso.run("rename", instance(other))
    assert (done.status, b"keeps its name" in done.stdout) == (0, True)


@pytest.mark.root
def test_a_block_device_is_cleared_too(iso: Definition, disk: Path) -> None:
    with disk.open("r+b") as file:
        file.write(b"old")
    with loop_device(disk) as device:
        assert iso.run("create", _variables(device, "")).status == 0
    with disk.open("rb") as file:
        assert file.read(3) == bytes(3)


def test_verify_knows_no_other_check(iso: Definition) -> None:
    assert iso.run("verify", {}, "parameters").status == 0
    assert iso.run("verify", {"OS_VARIANT": "x"}, "parameters").status == 1
    assert "the only check is 'parameters'" in iso.run("verify", {}).stderr
