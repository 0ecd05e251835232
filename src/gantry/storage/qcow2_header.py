"""What the first bytes of an image say of it, read before any program opens it. Pure.

A program that opens a qcow2 file may open what that names, too. The layout is QEMU's
(docs/interop/qcow2 of its documents).
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from gantry.model.errors import Rejected

MOST: Final = 512
"""Bytes that are looked at."""
_HEADER: Final = struct.Struct(">4sIQIIQI")
"""Magic, version, place and length of a backing file's name, cluster bits, size, encryption."""
_MAGIC: Final = b"QFI\xfb"
_FEATURES: Final = 72
_DATA_FILE: Final = 1 << 2
_KNOWN: Final = (2, 3)
_UNPACK: Final = "unpack it first"
_CONVERT: Final = "make one of it: qemu-img convert -O qcow2 OLD NEW"
_OTHERS: Final = (
    (b"\x1f\x8b", "packed by gzip", _UNPACK),
    (b"\xfd7zXZ\0", "packed by xz", _UNPACK),
    (b"(\xb5/\xfd", "packed by zstd", _UNPACK),
    (b"BZh", "packed by bzip2", _UNPACK),
    (b"PK\x03\x04", "a zip archive", _UNPACK),
    (b"KDMV", "an image of VMware", _CONVERT),
    (b"# Disk DescriptorFile", "an image of VMware", _CONVERT),
    (b"<<< ", "an image of VirtualBox", _CONVERT),
    (b"vhdxfile", "an image of Hyper-V", _CONVERT),
    (b"conectix", "an image of Hyper-V", _CONVERT),
)
_WEB: Final = (b"<!doctype", b"<html")


class Qcow2(msgspec.Struct, frozen=True):
    """``size`` is that of the disk, in bytes."""

    size: int


def look(name: str, first: bytes) -> Qcow2 | None:
    """What the first ``MOST`` bytes of an image say; None of a raw one. Rejected.

    It builds on no other file, and nothing is encrypted in it. ``name`` is for the error.
    """
    if first.startswith(_MAGIC):
        return _qcow2(name, first)
    for magic, what, hint in _OTHERS:
        if first.startswith(magic):
            raise Rejected(f"the image {name} is {what}, not a raw or qcow2 disk image", hint)
    if first[:16].lower().startswith(_WEB):
        raise Rejected(f"the image {name} is a web page", "see what its server has to say")
    return None


def _qcow2(name: str, first: bytes) -> Qcow2:
    if len(first) < _FEATURES + 8:
        raise Rejected(f"the image {name} is cut off", "copy or build it again")
    _, version, backing, _, _, size, encryption = _HEADER.unpack_from(first)
    if version not in _KNOWN:
        raise Rejected(f"the image {name} is qcow version {version}, not 2 or 3", _CONVERT)
    features = int.from_bytes(first[_FEATURES : _FEATURES + 8], "big") if version > 2 else 0
    if backing or features & _DATA_FILE:
        raise Rejected(f"the image {name} is not whole: it builds on another file", _CONVERT)
    if encryption:
        raise Rejected(f"the image {name} is encrypted", "make one that is not")
    return Qcow2(size)
