"""A Linux guest that measures writes to its disks, and changes one of them when it is told.

Kernel and initrd are those of ``guest_kernel``; a second archive goes behind the initrd, with a
first program of its own and a program of 300 bytes: it writes blocks of 4 KiB in a row, with
O_DIRECT and O_DSYNC, and says of each how long it took. Made here byte by byte, since no
compiler is among the packages that the tests need.
"""

from __future__ import annotations

import re
import statistics
import struct
from pathlib import Path
from typing import Final

BLOCK: Final = 4096
WRITES: Final = 200
"""Of one run of the program."""
CHANGED: Final = 100
"""MiB that are written when the guest is told to."""
_BASE: Final = 0x400000
_BUFFER: Final = _BASE + 0x1000
_O_RDWR_DIRECT_DSYNC: Final = 0x2 | 0x4000 | 0x1000
_FIRST: Final = """#!/bin/sh
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
modprobe -a virtio_pci virtio_blk
until [ -b /dev/vda ] && [ -b /dev/vdb ]; do usleep 50000; done
stty raw -echo < /dev/ttyS0
exec < /dev/ttyS0 > /dev/ttyS0 2>&1
for round in $(seq {rounds}); do
  for disk in vda vdb; do
    /writes /dev/$disk > /taken || echo "FAILED $disk"
    echo "TAKEN $disk" $(od -An -v -t d8 /taken) "END"
  done
done
echo MEASURED
while read -r word; do
  tr '\\0' "$word" < /dev/zero | dd of=/dev/vdb bs=1M count={changed} iflag=fullblock oflag=direct
  echo CHANGED
done
"""
_TAKEN: Final = re.compile(rb"TAKEN (vd[ab])([ 0-9\r\n]+)END")


def write_initrd(path: Path, initrd: Path, rounds: int) -> None:
    """The initrd with the archive behind it. Boot it with ``rdinit=/first``."""
    first = _FIRST.format(rounds=rounds, changed=CHANGED).encode()
    whole = initrd.read_bytes()
    whole += b"\0" * (-len(whole) % 512)
    path.write_bytes(whole + _archive({"first": first, "writes": program()}))


def taken(console: bytes) -> dict[str, list[float]]:
    """By disk (vda, vdb) the median of each run, in milliseconds."""
    found: dict[str, list[float]] = {}
    for disk, numbers in _TAKEN.findall(console):
        values = [int(one) / 1e6 for one in numbers.split()]
        assert len(values) == WRITES, f"{len(values)} writes were measured"
        found.setdefault(disk.decode(), []).append(statistics.median(values))
    return found


def program() -> bytes:
    """An ELF file for x86-64: ``writes DEVICE``; nanoseconds of each write on its output."""

    def number(value: int) -> bytes:
        return struct.pack("<I", value)

    clock = b"\xbf\x01\0\0\0%s\xb8\xe4\0\0\0\x0f\x05"  # clock_gettime(CLOCK_MONOTONIC, …)
    before = clock % b"\x48\x89\xe6"  # mov rsi, rsp
    after = clock % b"\x48\x8d\x74\x24\x10"  # lea rsi, [rsp + 16]
    begin = (
        b"\x48\x8b\x7c\x24\x10"  # mov rdi, [rsp + 16]: the device
        + b"\xbe"
        + number(_O_RDWR_DIRECT_DSYNC)
        + b"\xb8\x02\0\0\0\x0f\x05"  # open
        + b"\x49\x89\xc4\x48\x83\xec\x40\x31\xdb"  # mov r12, rax; sub rsp, 64; xor ebx, ebx
    )
    pwrite = (
        b"\x4c\x89\xe7\xbe"
        + number(_BUFFER)
        + b"\xba"
        + number(BLOCK)
        + b"\x41\x89\xda\x49\xc1\xe2\x0c"  # mov r10d, ebx; shl r10, 12
        + b"\xb8\x12\0\0\0\x0f\x05"  # pwrite64
        + b"\x48\x3d"
        + number(BLOCK)  # cmp rax, BLOCK
    )
    difference = (
        b"\x48\x8b\x44\x24\x10\x48\x2b\x04\x24"  # mov rax, [rsp + 16]; sub rax, [rsp]
        + b"\x48\x69\xc0"
        + number(1_000_000_000)  # imul rax, rax, 10 ** 9
        + b"\x48\x03\x44\x24\x18\x48\x2b\x44\x24\x08"  # add rax, [rsp + 24]; sub rax, [rsp + 8]
        + b"\x48\x89\x44\x24\x20"  # mov [rsp + 32], rax
        + b"\xbf\x01\0\0\0\x48\x8d\x74\x24\x20\xba\x08\0\0\0\xb8\x01\0\0\0\x0f\x05"  # write(1, …)
        + b"\xff\xc3\x81\xfb"
        + number(WRITES)  # inc ebx; cmp ebx, WRITES
    )
    leave = b"\x31\xff\xb8\x3c\0\0\0\x0f\x05"  # exit(0)
    fail = b"\xbf\x01\0\0\0\xb8\x3c\0\0\0\x0f\x05"  # exit(1)
    tail = after + difference
    back = len(before) + len(pwrite) + 6 + len(tail) + 6
    code = begin + before + pwrite
    code += b"\x0f\x85" + struct.pack("<i", len(tail) + 6 + len(leave))  # jne fail
    code += tail + b"\x0f\x82" + struct.pack("<i", -back) + leave + fail  # jb: again
    size = 64 + 56 + len(code)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, _BASE + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 7, 0, _BASE, _BASE, size, 0x3000, 0x1000)
    return header + segment + code


def _archive(files: dict[str, bytes]) -> bytes:
    """As the kernel unpacks it (cpio, newc)."""
    made = b""
    for count, (name, content) in enumerate((*files.items(), ("TRAILER!!!", b""))):
        words = [count + 1, 0o100755, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
        made += b"070701" + b"".join(b"%08X" % word for word in words) + name.encode() + b"\0"
        made += b"\0" * (-len(made) % 4)
        made += content + b"\0" * (-len(content) % 4)
    return made + b"\0" * (-len(made) % 512)
