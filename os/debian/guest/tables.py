"""Partition tables, GPT and MBR, read and written on the disk itself."""

from __future__ import annotations

import os
import struct
import uuid
import zlib
from dataclasses import dataclass, replace

from guest.inputs import Fault

SECTOR = 512
ALIGNMENT = 2048
"""Sectors in 1 MiB, at whose multiples partitions begin."""
_MAGIC = b"EFI PART"
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_BASIC_DATA = uuid.UUID("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7").bytes_le
_MOST_ENTRIES = 1024
_LARGEST_MBR = 0xFFFFFFFF


@dataclass(frozen=True)
class Partition:
    """Where it is, in sectors, and its place in the table, from 0."""

    slot: int
    first: int
    sectors: int
    name: str = ""


@dataclass(frozen=True)
class Gpt:
    """A GPT: the disk's GUID, the sectors that partitions may take, the entries, 128 bytes each."""

    guid: bytes
    first: int
    last: int
    entries: bytes

    @property
    def partitions(self) -> list[Partition]:
        """Those that are in use."""
        found = []
        for slot in range(len(self.entries) // _ENTRY.size):
            kind, _, first, last, _, name = _ENTRY.unpack_from(self.entries, slot * _ENTRY.size)
            if any(kind):
                text = name.decode("utf-16-le", "replace").rstrip("\0")
                found.append(Partition(slot, first, last - first + 1, text))
        return found


@dataclass(frozen=True)
class Mbr:
    """An MBR: its sector."""

    sector: bytes

    @property
    def partitions(self) -> list[Partition]:
        """The primary ones that are in use."""
        found = []
        for slot in range(4):
            _, kind, first, sectors = _mbr_entry(self.sector, slot)
            if kind:
                found.append(Partition(slot, first, sectors))
        return found


def _mbr_entry(sector: bytes, slot: int) -> tuple[int, int, int, int]:
    """Status, type, first sector, sectors."""
    status, kind, first, sectors = struct.unpack_from("<B3xB3xII", sector, 446 + 16 * slot)
    return status, kind, first, sectors


def read(descriptor: int, sectors: int) -> Gpt | Mbr | None:
    """The table of a disk of so many sectors, or None. Fault where it is damaged."""
    sector = os.pread(descriptor, SECTOR, 0)
    head = os.pread(descriptor, SECTOR, SECTOR)
    if head[:8] == _MAGIC:
        return _read_gpt(descriptor, head)
    if len(sector) < SECTOR or sector[510:] != b"\x55\xaa":
        return None
    entries = [_mbr_entry(sector, slot) for slot in range(4)]
    used = [entry for entry in entries if entry[1]]
    if any(entry[0] & 0x7F for entry in entries) or not used:
        return None
    if any(first == 0 or first + length > sectors for _, _, first, length in used):
        return None
    return Mbr(sector)


def _read_gpt(descriptor: int, head: bytes) -> Gpt:
    header = _HEADER.unpack_from(head)
    size, checksum, number, entry_size = header[2], header[3], header[11], header[12]
    if not 92 <= size <= SECTOR or entry_size != _ENTRY.size or not 0 < number <= _MOST_ENTRIES:
        raise Fault("the partition table (GPT) is of a kind that is not known here")
    if zlib.crc32(head[:16] + bytes(4) + head[20:size]) != checksum:
        raise Fault("the partition table (GPT) is damaged: its checksum is wrong")
    entries = os.pread(descriptor, number * entry_size, header[10] * SECTOR)
    if zlib.crc32(entries) != header[13]:
        raise Fault("the partition table (GPT) is damaged: the checksum of its entries is wrong")
    return Gpt(guid=header[9], first=header[7], last=header[8], entries=entries)


def spread(table: Gpt | Mbr, sectors: int) -> Gpt | Mbr:
    """The table for a disk that has so many sectors now: all of it can be used."""
    if not isinstance(table, Gpt):
        return table
    behind = -(-len(table.entries) // SECTOR) + 1
    last = sectors - 1 - behind
    if any(part.first + part.sectors - 1 > last for part in table.partitions):
        raise Fault(f"the disk is too small for its partitions: give it {behind} sectors more")
    return replace(table, last=last)


def place_at_end(table: Gpt | Mbr, sectors: int, length: int) -> int:
    """Where a partition of ``length`` sectors fits at the disk's end; Fault where none does."""
    end = table.last + 1 if isinstance(table, Gpt) else min(sectors, _LARGEST_MBR)
    first = (end - length) // ALIGNMENT * ALIGNMENT
    used = max((part.first + part.sectors for part in table.partitions), default=ALIGNMENT)
    if first < used:
        raise Fault(
            "there is no room for one more partition at the end of the disk: "
            "make it some MiB larger than the image"
        )
    return first


def add(table: Gpt | Mbr, first: int, length: int, name: str) -> Gpt | Mbr:
    """The table with one more partition, in the last place that is free."""
    used = {part.slot for part in table.partitions}
    if isinstance(table, Gpt):
        free = set(range(len(table.entries) // _ENTRY.size)) - used
        entry = _ENTRY.pack(
            *(_BASIC_DATA, uuid.uuid4().bytes_le, first, first + length - 1, 0),
            name.encode("utf-16-le").ljust(72, b"\0"),
        )
        return replace(table, entries=_put(table.entries, max(free, default=-1), entry, 0))
    free = set(range(4)) - used
    entry = struct.pack("<B3sB3sII", 0, b"\xfe\xff\xff", 0x0C, b"\xfe\xff\xff", first, length)
    return Mbr(_put(table.sector, max(free, default=-1), entry, 446))


def remove(table: Gpt | Mbr, slot: int) -> Gpt | Mbr:
    """The table without the partition in that place."""
    if isinstance(table, Gpt):
        return replace(table, entries=_put(table.entries, slot, bytes(_ENTRY.size), 0))
    return Mbr(_put(table.sector, slot, bytes(16), 446))


def _put(data: bytes, slot: int, entry: bytes, base: int) -> bytes:
    if slot < 0:
        raise Fault("the partition table is full: give the instance a second disk for the seed")
    start = base + slot * len(entry)
    return data[:start] + entry + data[start + len(entry) :]


def write(descriptor: int, table: Gpt | Mbr, sectors: int) -> None:
    """Put the table on a disk of so many sectors; a GPT with its copy at the end."""
    if isinstance(table, Mbr):
        os.pwrite(descriptor, table.sector, 0)
        return
    copy = sectors - 1 - -(-len(table.entries) // SECTOR)
    os.pwrite(descriptor, table.entries, copy * SECTOR)
    os.pwrite(descriptor, _sealed(table, sectors - 1, 1, copy), (sectors - 1) * SECTOR)
    os.pwrite(descriptor, table.entries, 2 * SECTOR)
    os.pwrite(descriptor, _sealed(table, 1, sectors - 1, 2), SECTOR)
    _protect(descriptor, sectors)


def _sealed(table: Gpt, own: int, other: int, entries: int) -> bytes:
    number = len(table.entries) // _ENTRY.size

    def header(checksum: int) -> bytes:
        return _HEADER.pack(
            *(_MAGIC, 0x10000, _HEADER.size, checksum, 0, own, other, table.first, table.last),
            *(table.guid, entries, number, _ENTRY.size, zlib.crc32(table.entries)),
        )

    return header(zlib.crc32(header(0))).ljust(SECTOR, b"\0")


def _protect(descriptor: int, sectors: int) -> None:
    """The MBR before a GPT names one partition, as large as the disk; others stay as they are."""
    sector = os.pread(descriptor, SECTOR, 0)
    for slot in range(4):
        _, kind, first, _ = _mbr_entry(sector, slot)
        if kind == 0xEE:
            length = struct.pack("<I", min(sectors - first, _LARGEST_MBR))
            start = 446 + 16 * slot + 12
            os.pwrite(descriptor, sector[:start] + length + sector[start + 4 :], 0)
            return
