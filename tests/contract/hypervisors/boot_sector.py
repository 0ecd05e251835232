"""A guest of 512 bytes: no kernel, up in a tenth of a second, and idle while it waits.

It writes ``up`` to the first serial port, echoes what is typed, powers itself off at a ``q``,
resets itself at an ``r``, writes without end at an ``f``, and, where it listens to it, obeys
the power button. Ports are
those of QEMU's PC (power management at 0x600) and of any PC's first serial port.
"""

from __future__ import annotations

from pathlib import Path

SIZE_MIB = 1
_Item = bytes | str | tuple[int, str]


def _assemble(items: list[_Item]) -> bytes:
    """Bytes as they are, ``name`` a label, ``(opcode, name)`` a jump or call to it."""
    places: dict[str, int] = {}
    position = 0
    for item in items:
        if isinstance(item, str):
            places[item] = position
        elif isinstance(item, bytes):
            position += len(item)
        else:
            position += 3 if item[0] == 0xE8 else 2
    code = b""
    for item in items:
        if isinstance(item, bytes):
            code += item
        elif isinstance(item, tuple):
            size = 2 if item[0] == 0xE8 else 1
            distance = places[item[1]] - (len(code) + 1 + size)
            code += bytes([item[0]]) + distance.to_bytes(size, "little", signed=True)
    return code


def _say(text: bytes) -> list[_Item]:
    items: list[_Item] = []
    for byte in text:
        items += [bytes([0xB0, byte]), (0xE8, "put")]  # mov al, byte; call put
    return items


def program(*, power_button: bool) -> bytes:
    """The boot sector."""
    items: list[_Item] = []
    if power_button:
        items += [b"\xba\x02\x06\xb8\x00\x01\xef"]  # out 0x602, 0x100: enable the button
    items += _say(b"up\r\n")
    items += [
        "wait",
        b"\xfb\xf4",  # sti; hlt: the timer wakes us
        b"\xba\x00\x06\xed\xf6\xc4\x01",  # in ax, 0x600; test ah, 1
        (0x75, "off"),
        "read",
        b"\xba\xfd\x03\xec\xa8\x01",  # in al, 0x3fd; test al, 1
        (0x74, "wait"),
        b"\xba\xf8\x03\xec",  # in al, 0x3f8
        b"\x3cq",
        (0x74, "off"),
        b"\x3cf",
        (0x74, "flood"),
        b"\x3cr",
        (0x74, "reset"),
        (0xE8, "put"),
        (0xEB, "read"),
        "flood",
        b"\xb0.",
        (0xE8, "put"),
        (0xEB, "flood"),
        "reset",
        b"\xb0\xfe\xe6\x64",  # out 0x64, 0xfe: the keyboard controller's reset line
        (0xEB, "reset"),
        "off",
        b"\xba\x04\x06\xb8\x00\x20\xef",  # out 0x604, 0x2000: sleep state S5
        b"\xf4",
        (0xEB, "off"),
        "put",
        b"\x50",  # push ax
        "full",
        b"\xba\xfd\x03\xec\xa8\x20",  # in al, 0x3fd; test al, 0x20
        (0x74, "full"),
        b"\x58\xba\xf8\x03\xee\xc3",  # pop ax; out 0x3f8, al; ret
    ]
    return _assemble(items).ljust(510, b"\0") + b"\x55\xaa"


def write(path: Path, *, power_button: bool = True) -> None:
    """A disk that boots it; virtio wants a whole MiB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(program(power_button=power_button).ljust(SIZE_MIB << 20, b"\0"))


def writer() -> bytes:
    """A boot sector that writes what is typed, one byte, into the sector that it names.

    That is the byte's lowest six bits, of the first cylinder, counted from 1; then it echoes it.
    Calls are those of any PC's BIOS (interrupt 0x13).
    """
    items: list[_Item] = [b"\x31\xc0\x8e\xd8\x8e\xc0"]  # ds, es = 0
    items += [
        "read",
        b"\xba\xfd\x03\xec\xa8\x01",  # in al, 0x3fd; test al, 1
        (0x74, "read"),
        b"\xba\xf8\x03\xec",  # in al, 0x3f8
        b"\xa2\x00\x7e",  # mov [0x7e00], al
        b"\x88\xc1\x80\xe1\x3f\xb5\x00",  # cl = al & 0x3f; ch = 0
        b"\x50\xb8\x01\x03\xbb\x00\x7e\xba\x80\x00",  # push ax; one sector, from 0x7e00, disk 0
        b"\xcd\x13\x58",  # int 0x13; pop ax
        b"\xba\xf8\x03\xee",  # out 0x3f8, al
        (0xEB, "read"),
    ]
    return _assemble(items).ljust(510, b"\0") + b"\x55\xaa"
