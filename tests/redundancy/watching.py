"""What is seen from outside while a round goes on: every console, and every process of a guest."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.fleet import Fleet

EVERY = 0.02
"""Seconds between two looks."""
_LINE = re.compile(rb"(READ|GONE|ACK) (\d+) (\d+)\r?\n|(BAD) ([^\r\n]*)\r?\n")


@dataclass(frozen=True)
class Said:
    """A line of a guest: on which machine, what, the number (of ``BAD`` 0)."""

    moment: float
    machine: int
    word: str
    number: int
    text: str = ""


class Console:
    """One console's log, read as it grows; it may be put aside and begun anew."""

    def __init__(self, path: Path, machine: int) -> None:
        self._path = path
        self._machine = machine
        self._at = 0
        self._inode = 0
        self._rest = b""

    def more(self) -> list[Said]:
        """What was said since the last look."""
        try:
            with self._path.open("rb") as file:
                found = file.seek(0, 2)
                inode = self._path.stat().st_ino
                if inode != self._inode or found < self._at:
                    self._inode, self._at, self._rest = inode, 0, b""
                file.seek(self._at)
                new = file.read()
        except FileNotFoundError:
            return []
        self._at += len(new)
        whole = self._rest + new
        said, end = list[Said](), 0
        for match in _LINE.finditer(whole):
            end = match.end()
            if match[4] is not None:
                text = match[5].decode(errors="replace")
                said.append(Said(time.time(), self._machine, "BAD", 0, text))
            elif match[2] == match[3]:  # else something in the middle was lost
                word = match[1].decode()
                said.append(Said(time.time(), self._machine, word, int(match[2])))
        self._rest = whole[end:][-200:]
        return said


class Watch(threading.Thread):
    """Follows guests on all machines until it is told to stop.

    ``said`` are each guest's lines in the order in which they were seen; ``twice`` is what must
    never be: a guest with two processes that are not one's way to the other.
    """

    def __init__(self, fleet: Fleet, guests: Mapping[str, str]) -> None:
        super().__init__(daemon=True, name="watch")
        self.said: dict[str, list[Said]] = {name: [] for name in guests}
        self.twice: list[str] = []
        self.enough = threading.Event()
        self._guests = guests
        self._changed = threading.Condition()
        self._fleet = fleet
        self._consoles = {
            (name, machine.number): Console(
                machine.root / f"var/log/gantry/console/{name}.log", machine.number
            )
            for name in guests
            for machine in fleet.machines
        }

    def run(self) -> None:
        """Look again and again."""
        while not self.enough.is_set():
            self.look()
            self.enough.wait(EVERY)
        self.look()

    def look(self) -> None:
        """Once."""
        with self._changed:
            for (name, _), console in self._consoles.items():
                self.said[name] += console.more()
            self._changed.notify_all()
        for name, uuid in self._guests.items():
            found = processes(uuid)
            if len(found) > 1:
                self.twice.append(f"{time.time():.2f} {name}: {found}")

    def acknowledged(self, name: str) -> int:
        """The highest block that a guest was told is written."""
        return max((one.number for one in self.said[name] if one.word == "ACK"), default=0)

    def more(self, names: Iterable[str], number: int, timeout: float) -> bool:
        """Wait until each of these has ``number`` more blocks acknowledged than now."""
        with self._changed:
            wanted = {name: self.acknowledged(name) + number for name in names}
            return self._changed.wait_for(
                lambda: all(self.acknowledged(name) >= most for name, most in wanted.items()),
                timeout,
            )


def processes(uuid: str) -> list[int]:
    """The QEMU processes of a guest that run it; one that is only being received does not."""
    return [pid for pid, argv in _running() if runs(argv, uuid)]


def runs(argv: list[bytes], uuid: str) -> bool:
    """Whether it is QEMU with that guest, and not one that waits for it to come."""
    return (
        b"qemu-system" in argv[0]
        and uuid.encode() in argv
        and b"-uuid" in argv
        and b"-incoming" not in argv
    )


def _running() -> Iterable[tuple[int, list[bytes]]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                argv = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if len(argv) > 1:
                yield int(entry.name), argv


def story(said: list[Said]) -> list[str]:
    """What is wrong with what one guest said; empty where all is right.

    Nothing that was acknowledged is gone, and nothing that was read is gone later.
    """
    wrong, acknowledged, read = list[str](), 0, 0
    for one in said:
        match one.word:
            case "ACK":
                acknowledged = max(acknowledged, one.number)
            case "READ":
                if one.number < acknowledged:
                    wrong.append(f"block {acknowledged} was acknowledged and is lost: {one}")
                if one.number < read:
                    wrong.append(f"block {read} was read and is gone: {one}")
                read = max(read, one.number)
            case _:
                wrong.append(f"{one.word} {one.text or one.number}: {one}")
    return wrong
