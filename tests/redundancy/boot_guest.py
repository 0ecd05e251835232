"""The guest of emulated nodes: a disk that boots a program which writes numbered blocks to it.

``tests/guests/boot_writer.c`` says what it does; what it prints is what ``guest`` prints.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

NAME = "boot-writer"
"""Of the OS definition that puts it onto a disk."""
_SOURCE = Path(__file__).resolve().parents[1] / "guests/boot_writer.c"
_DEFINITIONS = Path(__file__).resolve().parents[2] / "os"
_SLOTS = 256
"""Blocks of 4 KiB that the program goes round in."""
_TICKS = 4
"""Of 55 ms, from one block to the next."""
_IMAGE = "boot.img"
_CREATE = f"""#!/bin/sh
exec dd if={_IMAGE} of="$DISK_0_PATH" conv=notrunc,fsync status=none
"""


def build(directory: Path) -> Path:
    """The OS definition, in ``directory``."""
    assert shutil.which("gcc"), "gcc is missing: packaging/install-debian-packages"
    definition = directory / NAME
    shutil.copytree(_DEFINITIONS / "noop", definition)
    (definition / "create").write_text(_CREATE)
    (definition / "create").chmod(0o755)
    linker = f"-Wl,--build-id=none,-T,{_SOURCE.with_suffix('.ld')},--oformat=binary"
    compiler = [
        *("gcc", "-m16", "-march=i386", "-Os", "-Wall", "-Werror", "-ffreestanding", "-nostdlib"),
        *("-static", "-no-pie", "-fno-pie", "-fno-stack-protector"),
        *("-fno-asynchronous-unwind-tables", f"-DSLOTS={_SLOTS}", f"-DTICKS={_TICKS}", linker),
    ]
    subprocess.run([*compiler, "-o", definition / _IMAGE, _SOURCE], check=True, timeout=60)
    return definition


def install(definition: Path, root: Path) -> None:
    """On a machine, before anything is done there."""
    shutil.copytree(definition, root / "srv/ganeti/os" / NAME)
