"""Clients that change instances of their own through any candidate, and what they were promised."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.rounds.cluster import Rig
from tests.support.cluster import Done

PATIENCE = 120
"""Seconds for one command."""


@dataclass(frozen=True)
class Promise:
    """A job that was acknowledged, at that moment (``time.time()``)."""

    job: int
    moment: float
    client: int
    words: tuple[str, ...]


class Client(threading.Thread):
    """Submits jobs until it is told to stop."""

    def __init__(self, rig: Rig, number: int, seed: int, told: Callable[[], None]) -> None:
        super().__init__(daemon=True, name=f"client {number}")
        self.rig = rig
        self.number = number
        self.chance = random.Random(f"rounds/{seed}/client/{number}")
        self.names = [f"r{number}{letter}.example.com" for letter in "ab"]
        self.promises: list[Promise] = []
        self.problems: list[str] = []
        self.refused = 0
        self.enough = threading.Event()
        self._told = told

    def run(self) -> None:
        try:
            while not self.enough.is_set():
                self._one()
        except Exception as error:
            self.problems.append(f"{self.name}: {error!r}")

    def _one(self) -> None:
        # Only candidates may change anything; the others may look.
        number = self.chance.choice(self.rig.candidates)
        words = self._words()
        machine = self.rig.fleet.machine(number)
        done = machine.run("gnt-instance", *words, "--submit", "--json", timeout=PATIENCE)
        self._judge(words, done)

    def _judge(self, words: list[str], done: Done) -> None:
        if done.status == 0:
            job = int(json.loads(done.stdout)["job"])
            self.promises.append(Promise(job, time.time(), self.number, tuple(words)))
            self._told()
        elif not done.stderr.strip():
            self.problems.append(f"{words} failed without a word: {done}")
        else:
            self.refused += 1
            # Nobody can be asked now, most likely.
            self.enough.wait(0.1)

    def _words(self) -> list[str]:
        name = self.chance.choice(self.names)
        kind = self.chance.choice(("add", "add", "denied", "stop", "start", "modify", "remove"))
        match kind:
            case "add" | "denied":
                node = f"node{self.chance.choice(self.rig.fleet.numbers)}"
                name = f"denied-{name}" if kind == "denied" else name
                return [
                    "add", "-t", "file", "-s", "2M", "-o", "noop", "-n", node,
                    "-B", "memory=16M", "--no-nics", name,
                ]  # fmt: skip
            case "modify":
                return ["modify", "-B", f"memory={self.chance.randint(16, 64)}M", name]
            case "remove":
                return ["remove", "-f", "--shutdown-timeout=1", name]
            case "stop":
                return ["stop", "--timeout=1", name]
            case _:
                return ["start", name]
