"""One effect under its key: who waits for it, what came of it, what its code may use."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from gantry.agent.memory import Memory
from gantry.host.daemon import Identity
from gantry.ports.agents import Envelope
from gantry.rpc import wire

Tell: TypeAlias = Callable[[bytes], None]

_LINES: Final = 1000
"""Progress lines that wait for a slow reader; more are dropped."""


class Task:
    """What the code that carries an order out may use of its effect."""

    def __init__(self, envelope: Envelope, effect: Effect, memory: Memory) -> None:
        self.envelope = envelope
        self._effect = effect
        self._memory = memory

    def say(self, text: str) -> None:
        """A line for the job's log."""
        self._effect.tell(wire.progress(text))

    def started(self, which: Identity) -> None:
        """A script runs in that process; called from any thread, before anything waits for it."""
        self._memory.script_started(self.envelope.key, which.pid, which.started)

    def starter(self, which: Identity) -> None:
        """That process starts scripts, of other effects too; called as ``started``."""
        self._memory.starter(which.pid, which.started)


class Effect:
    """One key: those who wait for it, and what came of it."""

    def __init__(self, key: str, digest: bytes, epoch: int, outcome: bytes | None = None) -> None:
        self.key = key
        self.digest = digest
        self.epoch = epoch
        self.outcome = outcome
        self.script = False
        """Whether processes are kept track of."""
        self.task: asyncio.Task[None] | None = None
        self._followers: list[Tell] = []

    def follow(self, tell: Tell) -> None:
        """``tell`` is called with each line from now on; the last one is the outcome."""
        if self.outcome is not None:
            tell(self.outcome)
        else:
            self._followers.append(tell)

    def leave(self, tell: Tell) -> None:
        """That one is told nothing more."""
        if tell in self._followers:
            self._followers.remove(tell)

    @contextlib.contextmanager
    def lines(self) -> Iterator[asyncio.Queue[bytes]]:
        """The lines from now on, for a reader who may be slow: he misses progress, no outcome."""
        queue: asyncio.Queue[bytes] = asyncio.Queue(_LINES)

        def tell(line: bytes) -> None:
            if self.outcome is not None or queue.qsize() < _LINES - 1:
                queue.put_nowait(line)

        self.follow(tell)
        try:
            yield queue
        finally:
            self.leave(tell)

    def tell(self, line: bytes) -> None:
        """Give a line to all who follow."""
        for tell in self._followers:
            tell(line)

    def settle(self, outcome: bytes) -> None:
        """It has ended."""
        self.outcome = outcome
        followers, self._followers = self._followers, []
        for tell in followers:
            tell(outcome)
