"""A file system on a disk with a cache: what was not flushed when its power goes is gone.

The disk is an image whose tables stand in the memory of the program that serves it (as a file, by
FUSE) until somebody flushes: kill -9 of that program is the loss of power. Needs root and FUSE.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.support.cluster import eventually

FUSE = Path("/dev/fuse")
CLUSTER = 4096
"""Bytes that are lost or kept as one."""
PATIENCE = 60


class VolatileDisk:
    """One file system, mounted at ``root``. ``place`` keeps its images; the path of it is short."""

    def __init__(self, root: Path, place: Path, size: str) -> None:
        self._root, self._place = root, place
        self._size = size
        self._file, self._monitor = place / "disk", place / "monitor"
        self._layers: list[Path] = []
        self._loop = ""
        self._process: subprocess.Popen[bytes] | None = None
        place.mkdir()
        base = place / "base"
        with base.open("xb") as file:
            file.truncate(_bytes(size))
        _must("mke2fs", "-q", "-t", "ext4", "-m", "0", str(base))
        self._file.touch()
        os.truncate(self._file, _bytes(size))

    def switch_on(self) -> None:
        """It is mounted, with what was kept."""
        base = {"driver": "file", "node-name": "base", "filename": str(self._place / "base")}
        ready = self._place / "ready"
        ready.unlink(missing_ok=True)
        # With aio=native QEMU 7.2 mixes up writes that arrive side by side by FUSE.
        argv = [
            *("qemu-storage-daemon", "--blockdev", json.dumps({**base, "aio": "threads"})),
            *("--chardev", f"socket,id=monitor,path={self._monitor},server=on,wait=off"),
            *("--monitor", "chardev=monitor", "--pidfile", str(ready)),
            *("--export", f"type=fuse,id=disk,node-name=base,mountpoint={self._file},writable=on"),
        ]
        self._process = subprocess.Popen(argv)
        eventually("the disk is there", ready.exists, timeout=PATIENCE)
        self._layers = [self._place / "base"]
        self.keep()
        self._loop = _must("losetup", "--find", "--show", str(self._file))
        _must("mount", self._loop, str(self._root))

    def keep(self) -> None:
        """What was written so far stays; from now on only what is flushed does.

        To be done before a loss: what is written over, once it was flushed, does not go again.
        """
        number = len(self._layers)
        below, image = self._layers[-1], self._place / f"layer{number}"
        of = ("-b", str(below), "-F", "raw" if number == 1 else "qcow2")
        options = ("-f", "qcow2", "-o", f"cluster_size={CLUSTER}", "-u")
        _must("qemu-img", "create", "-q", *options, *of, str(image), self._size)
        name, old = image.name, below.name
        node: dict[str, Any] = {"driver": "qcow2", "node-name": name, "backing": None}
        node["file"] = {"driver": "file", "filename": str(image), "aio": "threads"}
        self._told("blockdev-add", node)
        self._told("blockdev-snapshot", {"node": old, "overlay": name})
        self._layers.append(image)

    def _told(self, command: str, arguments: dict[str, Any]) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(self._monitor))
            lines = connection.makefile("rw")
            lines.readline()
            for name, given in (("qmp_capabilities", {}), (command, arguments)):
                lines.write(json.dumps({"execute": name, "arguments": given}) + "\n")
                lines.flush()
                answer = lines.readline()
                assert "return" in json.loads(answer), answer

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
        _must("umount", "--lazy", str(self._root))
        _must("losetup", "--detach", self._loop)
        _must("umount", "--lazy", str(self._file))
        left = self._place / "left"
        form = "raw" if len(self._layers) == 1 else "qcow2"
        _must("qemu-img", "convert", "-f", form, "-O", "raw", str(self._layers[-1]), str(left))
        for layer in self._layers:
            layer.unlink()
        left.rename(self._place / "base")

    def close(self) -> None:
        """It is gone."""
        if self.on:
            self.lose_power()
            self.rest()
        shutil.rmtree(self._place)


def _bytes(size: str) -> int:
    return int(size.removesuffix("M")) << 20


def _must(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
    return done.stdout.strip()
