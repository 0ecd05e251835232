"""This machine's own files under another kernel: a script that runs as root in an emulated guest.

For what the kernel here cannot do, such as mapping partitions by the device-mapper. The guest reads
the files of this machine (virtiofs) and keeps what it changes on a disk of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.cluster import eventually
from tests.support.guest_kernel import made_guest_kernel

MODULES = ("dm_mod", "loop", "overlay", "virtiofs")
"""Of the kernel there."""
_DISK = 4 << 30
_DAEMONS = ("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd")
_ARGUMENTS = "root=/dev/vda rw quiet cryptomgr.notests panic=10 console=ttyS0,115200"
_INIT = """#!/bin/busybox sh
mount() { /bin/busybox mount "$@"; }
end() { /bin/busybox sync; mount -o remount,ro /; /bin/busybox poweroff -f; }
mount -t proc proc /proc
mount -t virtiofs -o ro machine /lower &&
  mount -t overlay -o lowerdir=/lower,upperdir=/upper,workdir=/work overlay /root || end
for one in "proc proc" "sysfs sys" "devtmpfs dev" "tmpfs tmp" "tmpfs run"; do
  set -- $one
  mount -t $1 $1 /root/$2
done
mount --bind /mnt /root/mnt
/bin/busybox chroot /root /bin/bash -e /mnt/begin < /dev/console > /dev/console 2>&1
echo $? > /mnt/status
end
"""
_BEGIN = """
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
mkdir -p /dev/shm /dev/pts /mnt/tmp
mount -t tmpfs shm /dev/shm
mount -t devpts devpts /dev/pts
export TMPDIR=/mnt/tmp
ip link set lo up
/lib/systemd/systemd-udevd --daemon
udevadm trigger
udevadm settle
exec bash -e /mnt/script < /dev/null
"""


@contextmanager
def ran(script: str, files: Mapping[str, Path], timeout: float) -> Iterator[Path]:
    """A directory: ``/mnt`` of the guest as a script has left it.

    The script, of bash, finds there what ``files`` names, files or directories, and may write
    there whatever it likes. It must end with 0 within ``timeout`` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="gantry-machine-") as name:
        place = Path(name)
        disk = _disk(place, script, files)
        said = _run(place, disk, timeout)
        seen = place / "seen"
        seen.mkdir()
        subprocess.run(["mount", "-o", "loop,ro", disk, seen], check=True)
        try:
            status = seen / "mnt/status"
            assert status.exists() and status.read_text() == "0\n", said
            yield seen / "mnt"
        finally:
            subprocess.run(["umount", seen], check=True)


def _disk(place: Path, script: str, files: Mapping[str, Path]) -> Path:
    tree = place / "tree"
    for directory in ("bin", "sbin", "dev", "proc", "sys", "root", "lower", "upper", "work", "mnt"):
        (tree / directory).mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, tree / "bin/busybox")
    (tree / "sbin/init").write_text(_INIT)
    (tree / "sbin/init").chmod(0o755)
    (tree / "mnt/begin").write_text(_BEGIN)
    (tree / "mnt/script").write_text(script)
    for name, source in files.items():
        subprocess.run(["cp", "-a", source, tree / "mnt" / name], check=True)
    disk = place / "disk"
    with disk.open("xb") as file:
        file.truncate(_DISK)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, disk], check=True)
    shutil.rmtree(tree)
    return disk


def _run(place: Path, disk: Path, timeout: float) -> str:
    """Until the guest powers off; what was on its console."""
    kernel = made_guest_kernel(*MODULES)
    with _shared(place / "socket") as socket:
        console = place / "console"
        with console.open("wb") as log:
            subprocess.run(
                [
                    *("qemu-system-x86_64", "-accel", "tcg,thread=multi,tb-size=256"),
                    *("-machine", "q35,memory-backend=memory", "-smp", "2", "-cpu", "max"),
                    *("-m", "1024", "-nodefaults", "-no-user-config", "-display", "none"),
                    *("-object", "memory-backend-memfd,id=memory,size=1G,share=on", "-no-reboot"),
                    *("-kernel", kernel.kernel, "-initrd", kernel.initrd, "-append", _ARGUMENTS),
                    *("-drive", f"file={disk},format=raw,if=virtio,cache=unsafe"),
                    *("-chardev", f"socket,id=files,path={socket}"),
                    *("-device", "vhost-user-fs-pci,chardev=files,tag=machine"),
                    *("-serial", "stdio"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
            )
        return console.read_text(errors="replace")


def file_daemon() -> str:
    """The program by which such a guest sees the files of this machine."""
    program = next((one for one in _DAEMONS if os.access(one, os.X_OK)), None)
    assert program is not None, f"none of {', '.join(_DAEMONS)} is there: install virtiofsd"
    return program


@contextmanager
def _shared(socket: Path) -> Iterator[Path]:
    """The files of this machine, for one guest."""
    program = file_daemon()
    options = "source=/,sandbox=chroot,cache=always"
    log = socket.with_suffix(".log")
    with (
        log.open("wb") as said,
        subprocess.Popen(
            [program, f"--socket-path={socket}", "-o", options], stdout=said, stderr=said
        ) as daemon,
    ):
        try:
            eventually("virtiofsd listens", lambda: socket.exists() or daemon.poll() is not None)
            assert socket.exists(), log.read_text()
            yield socket
        finally:
            daemon.terminate()
