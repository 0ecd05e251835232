"""An initrd for a guest that mounts its disk, writes to it, and runs QEMU's guest agent.

The kernel unpacks several archives one after the other, and the last file of a name counts: so
this is the initrd that all guests of tests have, and a second archive behind it.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

from tests.support.guest_kernel import GuestKernel

INIT = r"""#!/bin/sh
export PATH=/bin:/sbin
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys
modprobe -a virtio_pci virtio_blk virtio_console
mkdir -p /run /mnt /dev/virtio-ports; mount -t tmpfs run /run
mount -t ext4 /dev/vda /mnt || poweroff -f
for port in /sys/class/virtio-ports/*; do
  [ "$(cat $port/name)" = org.qemu.guest_agent.0 ] &&
    ln -s ../${port##*/} /dev/virtio-ports/org.qemu.guest_agent.0
done
qemu-ga -d -m virtio-serial -p /dev/virtio-ports/org.qemu.guest_agent.0 -t /run -f /run/pid
(number=0; while :; do number=$((number + 1)); echo $number > /mnt/number; sync; done) &
echo guest-is-ready > /dev/ttyS0
while :; do read -r line < /dev/ttyS0; echo "heard $line" > /dev/ttyS0; done
"""


def build(kernel: GuestKernel, directory: Path) -> Path:
    """The initrd, in ``directory``."""
    tree = directory / "tree"
    for name in ("bin", "lib", "lib64"):
        (tree / name).mkdir(parents=True)
    (tree / "init").write_text(INIT)
    (tree / "init").chmod(0o755)
    program = shutil.which("qemu-ga", path="/usr/sbin:/usr/bin")
    assert program, "Debian's package qemu-guest-agent is not installed"
    listed = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    for source in (program, *re.findall(r"(/\S+) \(", listed)):
        target = tree / ("bin/qemu-ga" if source == program else source.lstrip("/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(source), target)
        target.chmod(target.stat().st_mode | stat.S_IXUSR)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    packed = subprocess.run(
        ["cpio", "--quiet", "--create", "--format=newc", "--owner=0:0"],
        input=names.encode(), cwd=tree, check=True, capture_output=True,
    ).stdout  # fmt: skip
    made = directory / "initrd.img"
    base = kernel.initrd.read_bytes()
    made.write_bytes(base + bytes(-len(base) % 512) + packed)
    shutil.rmtree(tree)
    return made


def disk(path: Path, size: int) -> None:
    """A file system of so many MiB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", path], check=True, capture_output=True)


def needs_recovery(image: bytes) -> bool:
    """Whether the journal of an ext4 has something that is not in its place yet.

    Linux, Documentation/filesystems/ext4: the superblock is at 1024, its incompatible
    features at 0x60, of which 4 is that.
    """
    return bool(image[1024 + 0x60] & 4)
