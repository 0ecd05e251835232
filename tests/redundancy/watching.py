"""What is seen from outside while a round goes on: consoles, processes of guests, open disks."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.redundancy import disks
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


@dataclass(frozen=True)
class Silence:
    """A guest has nothing acknowledged on a machine between two moments."""

    guest: str
    machine: int
    since: float
    until: float

    def broken(self, said: Iterable[Said]) -> list[str]:
        """What it was told all the same."""
        return [
            f"{self.guest} was to wait on node{self.machine}, and was told: {one}"
            for one in said
            if one.machine == self.machine
            and one.word == "ACK"
            and self.since < one.moment < self.until
        ]


class Console:
    """One console's log, read as it grows; it may be put aside and begun anew."""

    def __init__(self, path: Path, machine: int) -> None:
        self._path = path
        self._machine = machine
        self._at = 0
        self._inode = 0
        self._rest = b""
        self._deaf = False

    def deaf(self) -> None:
        """Nobody looks at it."""
        self._deaf = True

    def listen(self) -> None:
        """What comes from now on is read; what is there may have been read before."""
        if self._deaf and self._path.exists():
            found = self._path.stat()
            self._inode, self._at, self._rest = found.st_ino, found.st_size, b""
        self._deaf = False

    def more(self) -> list[Said]:
        """What was said since the last look."""
        if self._deaf:
            return []
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


@dataclass(frozen=True)
class Seen:
    """Of each guest the processes that run it, and what QEMUs may write to, at one moment."""

    running: Mapping[str, frozenset[int]]
    writers: frozenset[disks.Writer]

    @classmethod
    def of(cls, used: Mapping[str, Sequence[disks.Used]]) -> Seen:
        """What each guest's QEMUs use."""
        return cls(
            {
                name: frozenset(one.pid for one in several if one.running)
                for name, several in used.items()
            },
            frozenset(
                writer for several in used.values() for one in several for writer in one.writers
            ),
        )

    def also(self, other: Seen) -> Seen:
        """What both saw."""
        running = {name: pids & other.running[name] for name, pids in self.running.items()}
        return Seen(running, self.writers & other.writers)

    def doubled(self) -> list[str]:
        """What runs in two places, or may be written to from two."""
        several = {name: pids for name, pids in self.running.items() if len(pids) > 1}
        return [
            *(f"{name} runs twice: {sorted(pids)}" for name, pids in several.items()),
            *disks.twice(self.writers),
        ]


class Watch(threading.Thread):
    """Follows guests on all machines until it is told to stop.

    ``said`` are each guest's lines in the order in which they were seen; ``twice`` is what must
    never be: a guest with two processes that are not one's way to the other, or a disk that two
    QEMUs may write to.
    """

    every = EVERY

    def __init__(self, fleet: Fleet, guests: Mapping[str, str]) -> None:
        super().__init__(daemon=True, name="watch")
        self.said: dict[str, list[Said]] = {name: [] for name in guests}
        self.twice: list[str] = []
        self.enough = threading.Event()
        self.astray: set[int] = set()
        """Machines whose guests are not counted: somebody wrongly said that they are off."""
        self.silences: list[Silence] = []
        self._guests = dict(guests)
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
            self.enough.wait(self.every)
        self.look()

    def look(self) -> None:
        """Once."""
        with self._changed:
            for (name, _), console in self._consoles.items():
                self.said[name] += console.more()
            self._changed.notify_all()
        seen = self._see()
        if seen.doubled():
            # What two looks in a row saw was so between them.
            proven = seen.also(self._see()).doubled()
            self.twice += [f"{time.time():.2f} {one}" for one in proven]

    def _see(self) -> Seen:
        """What is so now."""
        astray = tuple(self.astray)

        def counts(argv: list[bytes]) -> bool:
            return not any(self._on(argv, number) for number in astray)

        used = disks.of_guests(self._guests, self._fleet.directory, counts)
        return Seen.of(used)

    def deaf(self, number: int) -> None:
        """A machine's disk goes; nothing is read there until ``listen``."""
        with self._changed:
            for (_, machine), console in self._consoles.items():
                if machine == number:
                    console.deaf()

    def listen(self, number: int) -> None:
        """It is there again, maybe as it was some time ago."""
        with self._changed:
            for (_, machine), console in self._consoles.items():
                if machine == number:
                    console.listen()

    def _on(self, argv: list[bytes], number: int) -> bool:
        root = f"{self._fleet.machine(number).root}/".encode()
        return any(root in one for one in argv)

    def last_word(self, number: int, names: Iterable[str]) -> float:
        """When a guest was told something on that machine, the last time."""
        moments = [one.moment for name in names for one in self.said[name] if one.machine == number]
        return max(moments, default=0.0)

    def acknowledged(self, name: str) -> int:
        """The highest block that a guest was told is written."""
        return max((one.number for one in self.said[name] if one.word == "ACK"), default=0)

    def behind(self, names: Iterable[str], number: int, timeout: float) -> list[str]:
        """Wait until each has ``number`` more blocks acknowledged than now; those that have not."""
        with self._changed:
            wanted = {name: self.acknowledged(name) + number for name in names}

            def missing() -> list[str]:
                return [name for name, most in wanted.items() if self.acknowledged(name) < most]

            self._changed.wait_for(lambda: not missing(), timeout)
            return missing()


def story(said: list[Said]) -> list[str]:
    """What is wrong with what one guest said; empty where all is right.

    Nothing that was acknowledged is gone, nothing that was read is gone later, and no block is
    written twice: that is what a guest does that runs in two places.
    """
    wrong, acknowledged, read, written = list[str](), 0, 0, set[int]()
    for one in said:
        match one.word:
            case "ACK":
                if one.number in written:
                    wrong.append(f"block {one.number} was written twice: {one}")
                written.add(one.number)
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
