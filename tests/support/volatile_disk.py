"""A file system on a disk with a cache: what was not flushed when its power goes is gone.

The disk is a volatile image that a storage daemon serves as a file, by FUSE. Needs root and FUSE.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from tests.support.cluster import eventually
from tests.support.volatile_image import PATIENCE, VolatileImage, must

FUSE = Path("/dev/fuse")


class VolatileDisk:
    """One file system, mounted at ``root``. ``place`` keeps its images; the path of it is short."""

    def __init__(self, root: Path, place: Path, size: str) -> None:
        self._root, self._place = root, place
        self._image = VolatileImage(place, size)
        self._file = place / "disk"
        self._loop = ""
        self._process: subprocess.Popen[bytes] | None = None
        must("mke2fs", "-q", "-t", "ext4", "-m", "0", str(self._image.base))
        self._file.touch()
        os.truncate(self._file, self._image.bytes)

    def switch_on(self) -> None:
        """It is mounted, with what was kept."""
        base = {"driver": "file", "node-name": "base", "filename": str(self._image.base)}
        ready = self._place / "ready"
        ready.unlink(missing_ok=True)
        # With aio=native QEMU 7.2 mixes up writes that arrive side by side by FUSE.
        argv = [
            *("qemu-storage-daemon", "--blockdev", json.dumps({**base, "aio": "threads"})),
            *self._image.monitor,
            *("--monitor", "chardev=monitor", "--pidfile", str(ready)),
            *("--export", f"type=fuse,id=disk,node-name=base,mountpoint={self._file},writable=on"),
        ]
        self._process = subprocess.Popen(argv)
        eventually("the disk is there", ready.exists, timeout=PATIENCE)
        self.keep()
        self._loop = must("losetup", "--find", "--show", str(self._file))
        must("mount", self._loop, str(self._root))

    def keep(self) -> None:
        """What was written so far stays; from now on only what is flushed does."""
        self._image.keep()

    @property
    def on(self) -> bool:
        """Whether it has power."""
        return self._process is not None

    def lose_power(self) -> None:
        """Now. Whoever has files of it open gets errors, and is to have been stopped before."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def rest(self) -> None:
        """After the loss, with nobody left who uses it: what remains is what was flushed."""
        must("umount", "--lazy", str(self._root))
        must("losetup", "--detach", self._loop)
        must("umount", "--lazy", str(self._file))
        self._image.rest()

    def close(self) -> None:
        """It is gone."""
        if self.on:
            self.lose_power()
            self.rest()
        shutil.rmtree(self._place)
