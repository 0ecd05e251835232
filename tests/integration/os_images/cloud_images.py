"""A small image as clouds have them: a partition table, a busybox that reads its seed at boot."""

import subprocess
from pathlib import Path

from tests.integration.os_images.definition import PATH, empty_disk

MEBIBYTE = 1 << 20
_INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
say() { echo "cloud-guest: $*" > /dev/console; }
seed=$(findfs LABEL=cidata)
say "seed on $seed"
dd if="$seed" bs=2048 skip=21 count=40 2> /dev/null | tr '\\0' '\\n' | grep . > /run/seed
while read -r line; do
  say "$line"
done < /run/seed
dmesg | grep -i 'gpt:' | while read -r line; do say "$line"; done
say "partitions: $(ls /sys/class/block | tr '\\n' ' ')"
poweroff -f
"""


def _tree(directory: Path) -> Path:
    """A root file system with busybox alone."""
    for name in ("bin", "sbin", "dev", "proc", "run", "sys"):
        (directory / name).mkdir(parents=True)
    busybox = subprocess.run(["which", "busybox"], capture_output=True, text=True, check=True)
    subprocess.run(["cp", busybox.stdout.strip(), directory / "bin/busybox"], check=True)
    listed = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True)
    for applet in listed.stdout.split():
        if applet != "busybox":
            (directory / "bin" / applet).symlink_to("busybox")
    init = directory / "sbin/init"
    init.write_text(_INIT)
    init.chmod(0o755)
    return directory


def _file_system(tree: Path, disk: Path, offset: int, size: int) -> None:
    options = ["-q", "-F", "-t", "ext4", "-E", f"offset={offset},root_owner=0:0", "-d", str(tree)]
    argv = ["mke2fs", *options, str(disk), f"{size >> 10}k"]
    subprocess.run(argv, env={"PATH": PATH}, capture_output=True, check=True)


def make_image(place: Path, label: str) -> Path:
    """A raw image of 16 MiB; ``label`` is ``gpt``, ``dos``, or empty for one without a table."""
    image = empty_disk(place / f"image-{label or 'plain'}.raw", 16 * MEBIBYTE)
    tree = _tree(place / f"tree-{label or 'plain'}")
    if not label:
        _file_system(tree, image, 0, 16 * MEBIBYTE)
        return image
    script = f"label: {label}\nstart=1MiB, size=14MiB\n".encode()
    subprocess.run(
        ["sfdisk", "--quiet", image], input=script, env={"PATH": PATH}, check=True, timeout=100
    )
    _file_system(tree, image, MEBIBYTE, 14 * MEBIBYTE)
    return image
