"""A file system that cloud-init takes for its seed: ISO 9660, volume ``cidata``, made in memory.

Names have small letters and hyphens by way of Rock Ridge. All is the same for the same files.
"""

from __future__ import annotations

import struct

SECTOR = 2048
VOLUME = b"cidata"
_ROOT, _PATHS_LITTLE, _PATHS_BIG, _FIRST_FILE = 20, 18, 19, 21
_DATE = bytes((126, 1, 1, 0, 0, 0, 0))
_LONG_DATE = b"2026010100000000\0"
_NO_DATE = b"0" * 16 + b"\0"
_SHARING = b"SP\x07\x01\xbe\xef\x00"
_ROCK_RIDGE = b"ER" + bytes((18, 1, 10, 0, 0, 1)) + b"RRIP_1991A"


def make(files: dict[str, bytes]) -> bytes:
    """The image. Few files with short names only: their records must fit into one sector."""
    records = _record(b"\0", _ROOT, SECTOR, 2, _SHARING + _ROCK_RIDGE) + _record(
        b"\1", _ROOT, SECTOR, 2, b""
    )
    contents, sector = b"", _FIRST_FILE
    for number, (name, content) in enumerate(sorted(files.items())):
        alias = f"FILE{number}.;1".encode()
        longer = _name(name.encode())
        records += _record(alias, sector, len(content), 0, longer)
        contents += _padded(content)
        sector += -(-len(content) // SECTOR)
    assert len(records) <= SECTOR
    paths_little = struct.pack("<BBIH2x", 1, 0, _ROOT, 1)
    paths_big = struct.pack(">BBIH2x", 1, 0, _ROOT, 1)
    return (
        bytes(16 * SECTOR)
        + _descriptor(sector)
        + (b"\xffCD001\x01").ljust(SECTOR, b"\0")
        + _padded(paths_little)
        + _padded(paths_big)
        + _padded(records)
        + contents
    )


def is_seed(start: bytes) -> bool:
    """Whether the first 17 sectors of something are those of a seed, whoever made it."""
    descriptor = start[16 * SECTOR : 17 * SECTOR]
    return descriptor[1:6] == b"CD001" and descriptor[40:72].strip().lower() == VOLUME


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % SECTOR)


def _both(number: int, little: str, big: str) -> bytes:
    return struct.pack("<" + little, number) + struct.pack(">" + big, number)


def _record(name: bytes, sector: int, size: int, flags: int, more: bytes) -> bytes:
    padding = b"" if len(name) % 2 else b"\0"
    body = (
        *(_both(sector, "I", "I"), _both(size, "I", "I"), _DATE, bytes((flags, 0, 0))),
        *(_both(1, "H", "H"), bytes((len(name),)), name, padding, more),
    )
    data = b"\0" + b"".join(body)
    data += bytes((len(data) + 1) % 2)
    return bytes((len(data) + 1,)) + data


def _name(name: bytes) -> bytes:
    return b"NM" + bytes((5 + len(name), 1, 0)) + name


def _descriptor(sectors: int) -> bytes:
    fields = (
        *(b"\x01CD001\x01\0", b"LINUX".ljust(32), VOLUME.ljust(32), bytes(8)),
        *(_both(sectors, "I", "I"), bytes(32), _both(1, "H", "H"), _both(1, "H", "H")),
        *(_both(SECTOR, "H", "H"), _both(10, "I", "I")),
        *(struct.pack("<II", _PATHS_LITTLE, 0), struct.pack(">II", _PATHS_BIG, 0)),
        *(_record(b"\0", _ROOT, SECTOR, 2, b""), b" " * (128 * 4 + 37 * 3)),
        *(_LONG_DATE, _LONG_DATE, _NO_DATE, _NO_DATE, b"\x01\0"),
    )
    return b"".join(fields).ljust(SECTOR, b"\0")
