"""What runs on an emulated node all the time: it says what is seen from outside elsewhere.

A question is a line of JSON, a number and a name with its arguments; so is an answer, the number
and a value. Both pass a serial device. Consoles' logs are passed on as they grow.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.redundancy import disks

EVERY = 0.25
"""Seconds between two looks at the logs."""


def main() -> None:
    """``DEVICE [LOG DEVICE] ...`` are the arguments: for questions, and the logs."""
    questions, *more = sys.argv[1:]
    logs = [Log(Path(log), device) for log, device in zip(more[::2], more[1::2], strict=True)]
    device = os.open(questions, os.O_RDWR)
    rest = b""
    while True:
        for log in logs:
            log.pass_on()
        if not select.select([device], [], [], EVERY)[0]:
            continue
        found = os.read(device, 1 << 16)
        if not found:
            time.sleep(EVERY)  # nobody is at the other end
        *lines, rest = (rest + found).split(b"\n")
        for line in lines:
            number, what, *arguments = json.loads(line)
            answer = json.dumps([number, ANSWERS[what](*arguments)]) + "\n"
            os.write(device, answer.encode())


class Log:
    """A file that grows, and may be begun anew. What it has by now is not passed on."""

    def __init__(self, path: Path, device: str) -> None:
        self._path = path
        self._device = os.open(device, os.O_WRONLY)
        self._inode, self._at = 0, 0
        if path.exists():
            found = path.stat()
            self._inode, self._at = found.st_ino, found.st_size

    def pass_on(self) -> None:
        """What has come."""
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                if found.st_ino != self._inode or found.st_size < self._at:
                    self._inode, self._at = found.st_ino, 0
                file.seek(self._at)
                more = file.read()
        except FileNotFoundError:
            return
        self._at += len(more)
        while more:
            more = more[os.write(self._device, more) :]


def look(uuids: dict[str, str], below: str) -> dict[str, list[Any]]:
    """Of each guest its QEMUs: pid, the files that it may write to, whether the guest may run."""
    return {
        name: [
            [one.pid, sorted(writer.file for writer in one.writers), one.running] for one in several
        ]
        for name, several in disks.of_guests(uuids, Path(below)).items()
    }


def digest(path: str) -> str | None:
    """Of a file but for the zeros at its end; None where there is none.

    A replica of a disk whose growth was interrupted is shorter until it is opened again.
    """
    try:
        return hashlib.sha256(Path(path).read_bytes().rstrip(b"\0")).hexdigest()
    except OSError:
        return None


def write(path: str, text: str, synced: bool) -> bool:
    """A whole file, anew; whether it is ``synced`` to the disk or left to the cache."""
    with Path(path).open("w") as file:
        file.write(text)
        file.flush()
        if synced:
            os.fsync(file)
    return True


def read(path: str) -> str:
    """A whole file; nothing where there is none."""
    return Path(path).read_text() if Path(path).exists() else ""


ANSWERS: dict[str, Callable[..., Any]] = {
    "look": look,
    "digest": digest,
    "write": write,
    "read": read,
}
