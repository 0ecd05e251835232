"""Where the seed is: a partition at the end of the first disk, or the last disk."""

from __future__ import annotations

import os

from guest import tables
from guest.inputs import Fault, count, disk, say
from guest.sparse_dump import clear, disk_bytes
from guest.tables import SECTOR, Gpt, Mbr

from cloud_image import iso9660

NAME = "cidata"
_LENGTH = tables.ALIGNMENT
_ROOM = _LENGTH * SECTOR
_START = 17 * iso9660.SECTOR


def wanted(seed: str, image: int, target: int) -> str:
    """``partition``, ``disk`` or ``none``, for an image on a disk. Fault where that cannot be."""
    table = tables.read(image, disk_bytes(image) // SECTOR)
    if seed in ("", "auto"):
        seed = "partition" if table is not None else "disk"
    if seed == "partition":
        if table is None:
            raise Fault("the image has no partition table to put a seed into: give seed=disk")
        sectors = disk_bytes(target) // SECTOR
        if sectors * SECTOR >= disk_bytes(image):
            tables.place_at_end(tables.spread(table, sectors), sectors, _LENGTH)
    if seed == "disk" and count("DISK_COUNT") < 2:
        raise Fault(
            "the image has no partition table, so the seed needs a disk of its own: give the "
            "instance a second disk of at least 1 MiB, or seed=none"
        )
    return seed


def spread(descriptor: int) -> None:
    """Let the partition table know the disk's size."""
    sectors = disk_bytes(descriptor) // SECTOR
    table = tables.read(descriptor, sectors)
    if table is not None:
        tables.write(descriptor, tables.spread(table, sectors), sectors)


def add_partition(descriptor: int, files: dict[str, bytes]) -> None:
    """A new partition with the seed."""
    sectors = disk_bytes(descriptor) // SECTOR
    table = tables.read(descriptor, sectors)
    assert table is not None
    first = tables.place_at_end(table, sectors, _LENGTH)
    _write_seed(descriptor, first * SECTOR, files)
    tables.write(descriptor, tables.add(table, first, _LENGTH, NAME), sectors)
    say("the seed for cloud-init is in a partition at the end of the disk")


def fill_last_disk(files: dict[str, bytes]) -> None:
    """The seed has a disk to itself."""
    path = disk(f"DISK_{count('DISK_COUNT') - 1}_PATH")
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        size = disk_bytes(descriptor)
        if size < _ROOM:
            raise Fault(f"the disk {path} is too small for a seed: it needs 1 MiB")
        clear(descriptor, size)
        _write_seed(descriptor, 0, files)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    say(f"the seed for cloud-init is on {path}")


def renew(descriptor: int, files: dict[str, bytes]) -> bool:
    """Write a seed anew where one is; False where there is none."""
    sectors = disk_bytes(descriptor) // SECTOR
    table = tables.read(descriptor, sectors)
    if table is not None and _move(descriptor, table, sectors, files):
        return True
    return _renew_last_disk(files)


def _move(descriptor: int, table: Gpt | Mbr, sectors: int, files: dict[str, bytes]) -> bool:
    """The seed's partition goes to the end of the disk, which may have grown; False without one."""
    for part in table.partitions:
        start = os.pread(descriptor, _START, part.first * SECTOR)
        if part.sectors == _LENGTH and iso9660.is_seed(start):
            without = tables.remove(tables.spread(table, sectors), part.slot)
            first = tables.place_at_end(without, sectors, _LENGTH)
            _write_seed(descriptor, first * SECTOR, files)
            tables.write(descriptor, tables.add(without, first, _LENGTH, NAME), sectors)
            if first >= part.first + _LENGTH:
                os.pwrite(descriptor, bytes(_ROOM), part.first * SECTOR)
            return True
    return False


def _renew_last_disk(files: dict[str, bytes]) -> bool:
    if count("DISK_COUNT") < 2:
        return False
    descriptor = os.open(disk(f"DISK_{count('DISK_COUNT') - 1}_PATH"), os.O_RDWR | os.O_CLOEXEC)
    try:
        if not iso9660.is_seed(os.pread(descriptor, _START, 0)):
            return False
        _write_seed(descriptor, 0, files)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return True


def _write_seed(descriptor: int, offset: int, files: dict[str, bytes]) -> None:
    image = iso9660.make(files)
    if len(image) > _ROOM:
        raise Fault("the seed for cloud-init is larger than 1 MiB: give less user data")
    os.pwrite(descriptor, image.ljust(_ROOM, b"\0"), offset)
