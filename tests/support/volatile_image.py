"""A disk's image that loses what was not flushed when the QEMU program that serves it is killed.

The newest layer is a qcow2 file, whose tables stand in the memory of that program until somebody
flushes: kill -9 of it is the loss of power.
"""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.support.cluster import eventually

CLUSTER = 4096
"""Bytes that are lost or kept as one."""
PATIENCE = 60


class VolatileImage:
    """Layers in ``place``, the lowest one a raw file; ``size`` is such as ``400M``."""

    def __init__(self, place: Path, size: str) -> None:
        self._place, self._size = place, size
        self._monitor = place / "monitor"
        self.base = place / "base"
        self._layers = [self.base]
        place.mkdir()
        with self.base.open("xb") as file:
            file.truncate(self.bytes)

    @property
    def bytes(self) -> int:
        """Of the disk."""
        return int(self._size.removesuffix("M")) << 20

    @property
    def monitor(self) -> tuple[str, ...]:
        """Where the program that serves it is to listen, as its arguments say it."""
        of = f"socket,id=monitor,path={self._monitor},server=on,wait=off"
        return ("--chardev", of)

    def more(self) -> Path:
        """A further layer, to be served from now on, with its file's name as node's name."""
        number = len(self._layers)
        below, image = self._layers[-1], self._place / f"layer{number}"
        of = ("-b", str(below), "-F", "raw" if number == 1 else "qcow2")
        options = ("-f", "qcow2", "-o", f"cluster_size={CLUSTER}", "-u")
        must("qemu-img", "create", "-q", *options, *of, str(image), self._size)
        self._layers.append(image)
        return image

    def keep(self) -> None:
        """What was written so far stays; from now on only what is flushed does.

        To be done before a loss: what is written over, once it was flushed, does not go again.
        """
        old = self._layers[-1].name
        image = self.more()
        node: dict[str, Any] = {"driver": "qcow2", "node-name": image.name, "backing": None}
        node["file"] = {"driver": "file", "filename": str(image), "aio": "threads"}
        self._told("blockdev-add", node)
        self._told("blockdev-snapshot", {"node": old, "overlay": image.name})

    def _told(self, command: str, arguments: dict[str, Any]) -> None:
        # A machine that has just been switched on may not listen yet.
        found = eventually("the monitor listens", self._connected, timeout=PATIENCE)
        assert found is not None
        with found as connection:
            connection.settimeout(PATIENCE)
            lines = connection.makefile("rw")
            lines.readline()
            for name, given in (("qmp_capabilities", {}), (command, arguments)):
                lines.write(json.dumps({"execute": name, "arguments": given}) + "\n")
                lines.flush()
                answer = lines.readline()
                assert "return" in json.loads(answer), answer

    def _connected(self) -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(self._monitor))
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return None
        return connection

    def rest(self) -> None:
        """After the loss, with nobody left who uses it: what remains is what was flushed."""
        left = self._place / "left"
        form = "raw" if len(self._layers) == 1 else "qcow2"
        must("qemu-img", "convert", "-f", form, "-O", "raw", str(self._layers[-1]), str(left))
        for layer in self._layers:
            layer.unlink()
        left.rename(self.base)
        self._layers = [self.base]


def must(*argv: str) -> str:
    """What a program says, which must end well."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
    return done.stdout.strip()
