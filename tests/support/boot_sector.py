"""Images that are nothing but a boot sector: guests that are up in a second, and at their worst.

Made here byte by byte, since no assembler is among the packages that the tests need.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

_OUTPUT, _RESULTS = 0x3F8, 0x2F8
"""The first and the second serial port."""
HANG: Final = b"\xfa\xf4\xeb\xfc"
"""Interrupts off, and wait for one."""
RESET: Final = b"\xb0\xfe\xe6\x64" + HANG
"""Through the keyboard's controller, as a kernel does that has crashed."""


def printed(text: str) -> bytes:
    """Its output."""
    return _said(_OUTPUT, text)


def told(text: str) -> bytes:
    """What it says of how it is."""
    return _said(_RESULTS, text)


def for_ever(program: bytes) -> bytes:
    """Again and again."""
    return program + b"\xe9" + struct.pack("<h", -len(program) - 3)


def write(image: Path, *program: bytes) -> Path:
    """The image, of 1 MiB."""
    code = b"".join(program)
    assert len(code) <= 440, "a boot sector has no more room"
    image.write_bytes(code.ljust(510, b"\0") + b"\x55\xaa" + bytes((1 << 20) - 512))
    return image


def _said(port: int, text: str) -> bytes:
    into = b"\xba" + struct.pack("<H", port)
    return into + b"".join(b"\xb0" + bytes([each]) + b"\xee" for each in text.encode())
