"""A guest of 512 bytes that writes numbered blocks, and says which ones were acknowledged.

It writes block after block of 4 KiB, each full of its own number, in turns over an area behind
the first MiB of the disk that it booted from, and after each write that the disk acknowledged
prints ``A`` and the number in hex to the first serial port; ``E`` where a write failed, which it
then tries again. It runs in a tenth of a second: the BIOS is all that it needs.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Final

BLOCK: Final = 4096
AREA: Final = 1 << 20
"""Where the area begins, in bytes."""
BLOCKS: Final = 1024
"""How many blocks it has: number n goes into block n modulo this."""
SIZE_MIB: Final = 8
"""Of a disk with room for all of it."""

_ORIGIN: Final = 0x7C00
_NUMBER: Final = _ORIGIN + 0x1E0
_DRIVE: Final = _ORIGIN + 0x1E4
_PACKET: Final = _ORIGIN + 0x1E8
_BUFFER: Final = 0x8000
_SECTORS: Final = BLOCK // 512
_ACKNOWLEDGED: Final = re.compile(rb"A([0-9A-F]{8})\r")


def program() -> bytes:
    """The boot sector."""

    def word(value: int) -> bytes:
        return struct.pack("<H", value)

    def double(value: int) -> bytes:
        return struct.pack("<I", value)

    begin = (
        b"\x31\xc0\x8e\xd8\x8e\xc0"  # xor ax, ax; mov ds, ax; mov es, ax
        + b"\x88\x16"
        + word(_DRIVE)  # mov [drive], dl
    )
    write = (
        b"\x66\xa1"
        + word(_NUMBER)  # mov eax, [number]
        + b"\xbf"
        + word(_BUFFER)  # mov di, buffer
        + b"\xb9"
        + word(BLOCK // 4)  # mov cx, BLOCK / 4
        + b"\xfc\xf3\x66\xab"  # cld; rep stosd
        + b"\x66\x25"
        + double(BLOCKS - 1)  # and eax, BLOCKS - 1
        + b"\x66\xc1\xe0\x03"  # shl eax, 3
        + b"\x66\x05"
        + double(AREA // 512)  # add eax, AREA / 512
        + b"\x66\xa3"
        + word(_PACKET + 8)  # mov [packet + 8], eax
        + b"\xbe"
        + word(_PACKET)  # mov si, packet
        + b"\x8a\x16"
        + word(_DRIVE)  # mov dl, [drive]
        + b"\xb8\x00\x43\xcd\x13"  # mov ax, 0x4300; int 0x13
        + b"\xb0A\x73\x02\xb0E"  # mov al, 'A'; jnc said; mov al, 'E'; said:
    )
    digit = (
        b"\x66\xc1\xc3\x04\x88\xd8\x24\x0f"  # rol ebx, 4; mov al, bl; and al, 15
        + b"\x3c\x0a\x1c\x69\x2f"  # cmp al, 10; sbb al, 0x69; das
    )
    put = (
        b"\x50\xba\xfd\x03\xec\xa8\x20\x74\xfb"  # push ax; full: in al, 0x3fd; test; jz full - 1
        + b"\xba\xf8\x03\x58\xee\xc3"  # mov dx, 0x3f8; pop ax; out dx, al; ret
    )
    where_put = 0x180
    code = begin
    again = len(code)
    code += write
    code += b"\x9c"  # pushf: whether it failed
    code = _call(code, where_put)
    code += b"\x66\x8b\x1e" + word(_NUMBER) + b"\xb9\x08\x00"  # mov ebx, [number]; mov cx, 8
    digits = len(code)
    code = _call(code + digit, where_put)
    code += b"\xe2" + struct.pack("b", digits - len(code) - 2)  # loop digits
    for byte in b"\r\n":
        code = _call(code + bytes([0xB0, byte]), where_put)
    code += b"\x9d\x72\x05"  # popf; jc again (past the increment)
    code += b"\x66\xff\x06" + word(_NUMBER)  # inc dword [number]
    code += b"\xe9" + struct.pack("<h", again - len(code) - 3)
    assert len(code) <= where_put
    data = double(1) + b"\0\0\0\0"
    data += struct.pack("<BBHHHQ", 16, 0, _SECTORS, _BUFFER, 0, 0)
    sector = code.ljust(where_put, b"\0") + put
    return sector.ljust(_NUMBER - _ORIGIN, b"\0") + data.ljust(30, b"\0") + b"\x55\xaa"


def _call(code: bytes, where: int) -> bytes:
    return code + b"\xe8" + struct.pack("<h", where - len(code) - 3)


def write(path: Path, size: int = SIZE_MIB) -> None:
    """Put it at the beginning of ``path``, a disk of ``size`` MiB, which is made where missing."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.write(program())
        file.truncate(size << 20)


def acknowledged(console: bytes) -> int:
    """The last number that was acknowledged, 0 where there is none yet."""
    found = _ACKNOWLEDGED.findall(console)
    return int(found[-1], 16) if found else 0


def missing(path: Path, last: int) -> list[int]:
    """Which of the acknowledged numbers up to ``last`` are not on that disk, though they must be.

    A number is there, or one that was written over it later.
    """
    with path.open("rb") as file:
        file.seek(AREA)
        area = file.read(BLOCKS * BLOCK)
    lost = []
    for number in range(max(1, last - BLOCKS + 1), last + 1):
        place = number % BLOCKS * BLOCK
        (found,) = struct.unpack_from("<I", area, place)
        if found < number:
            lost.append(number)
    return lost


def moment(path: Path) -> int:
    """The number that had been written last when the disk was what it is there.

    Fails where it never was: blocks are written one after the other, so that all of them are
    told by the last one.
    """
    with path.open("rb") as file:
        file.seek(AREA)
        area = file.read(BLOCKS * BLOCK)
    blocks = [area[place : place + BLOCK] for place in range(0, len(area), BLOCK)]
    found = [int.from_bytes(block[:4], "little") for block in blocks]
    torn = [place for place, block in enumerate(blocks) if block != block[:4] * (BLOCK // 4)]
    assert not torn, f"blocks that are half written: {torn}"
    last = max(found)
    earlier = [last - (last - place) % BLOCKS for place in range(BLOCKS)]
    assert found == [max(0, number) for number in earlier], f"no moment up to {last} had this"
    return last
