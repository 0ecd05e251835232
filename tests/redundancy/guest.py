"""The guest of these rounds: a kernel, and one program that writes numbered blocks.

``tests/guests/writer.c`` says what it does and what it prints.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.support.guest_kernel import GuestKernel

SOURCE = Path(__file__).resolve().parents[1] / "guests/writer.c"
SLOTS = 1024
"""Blocks of 4 KiB that the program goes round in."""
PAUSE = 4000
"""Microseconds from one block to the next."""
ARGUMENTS = "quiet cryptomgr.notests no_timer_check panic=1"
_INIT = f"""#!/bin/sh
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
modprobe -a virtio_pci virtio_blk button evdev
acpid -l /dev/null
until [ -b /dev/vda ]; do usleep 20000; done
writer /dev/vda {SLOTS} {PAUSE} > /dev/console &
while :; do sleep 1000; done
"""
_BUTTON = """#!/bin/sh
# A guest that goes down takes its disk away from who still writes to it.
/bin/killall -9 writer
exec /bin/poweroff -f
"""


def build(kernel: GuestKernel, directory: Path) -> Path:
    """An initrd: the usual one, and after it what is other than there."""
    assert shutil.which("gcc"), "gcc is missing: packaging/install-debian-packages"
    tree = directory / "tree"
    (tree / "bin").mkdir(parents=True)
    compiler = ["gcc", "-static", "-O1", "-Wall", "-Werror", "-o", str(tree / "bin/writer")]
    subprocess.run([*compiler, str(SOURCE)], check=True, timeout=60)
    for name, text in (("init", _INIT), ("etc/acpi/PWRF/00000080", _BUTTON)):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
        (tree / name).chmod(0o755)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    packed = subprocess.run(
        ["cpio", "--quiet", "--create", "--format=newc", "--owner=0:0"],
        input=names.encode(),
        cwd=tree,
        check=True,
        stdout=subprocess.PIPE,
        timeout=60,
    ).stdout
    # The kernel unpacks several archives, the later over the earlier.
    initrd = directory / "initrd.img"
    whole = kernel.initrd.read_bytes()
    initrd.write_bytes(whole + b"\0" * (-len(whole) % 4) + packed)
    return initrd
