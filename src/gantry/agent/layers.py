"""Dumps that rest on others: what QEMU is told of them, and what is believed of their headers.

A qcow2 file can name files that QEMU would open and hand out. So its header is read here: it
names the dump below it, of the same directory, or nothing. Pure but for reading the header.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gantry.agent.transfer_programs import value
from gantry.model.errors import Reason, Rejected

_MAGIC: Final = b"QFI\xfb"
_HEADER: Final = 104
_MOST_NAME: Final = 1023
_KNOWN: Final = 0b11011
"""Incompatible features (QEMU, docs/interop/qcow2) without those that name an external file."""


def check(path: Path, below: str) -> None:
    """Rejected where the file is no qcow2 file that names ``below`` and nothing else."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags), "rb") as file:
        plain = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        header = file.read(_HEADER) if plain else b""
        size = int.from_bytes(header[16:20], "big")
        file.seek(int.from_bytes(header[8:16], "big") if size <= _MOST_NAME else 0)
        named = file.read(size if size <= _MOST_NAME else 0)
    version = int.from_bytes(header[4:8], "big")
    features = int.from_bytes(header[72:80], "big") if version > 2 else 0
    encrypted = header[32:36] != bytes(4)
    good = len(header) == _HEADER and header.startswith(_MAGIC) and not encrypted
    if not good or features & ~_KNOWN or named != below.encode():
        raise Rejected(
            f"{path} is not what changed since {below}",
            "it is damaged, or was made by somebody else: use another export",
            reason=Reason.STATE,
        )


def image(paths: Sequence[Path]) -> str:
    """Image options of dumps, each resting on the next; the last one is raw. Read only."""
    options: list[str] = []
    for depth, path in enumerate(paths):
        before = "backing." * depth
        last = depth == len(paths) - 1
        options.append(f"{before}driver={'raw' if last else 'qcow2'}")
        if depth == 0:
            options.append("read-only=on")
        options += [f"{before}file.driver=file", f"{before}file.filename={value(path)}"]
    return ",".join(options)
