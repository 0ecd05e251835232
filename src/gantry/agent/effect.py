"""One effect under its key: who waits for it, what came of it, what its code may use."""

from __future__ import annotations

import asyncio
from typing import Final

from gantry.agent.memory import Memory
from gantry.host.daemon import Identity
from gantry.ports.agents import Envelope
from gantry.rpc import wire

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
        self._listeners: list[asyncio.Queue[bytes]] = []

    def listen(self) -> asyncio.Queue[bytes]:
        """The lines from now on; the last one is the outcome."""
        queue: asyncio.Queue[bytes] = asyncio.Queue(_LINES)
        if self.outcome is not None:
            queue.put_nowait(self.outcome)
        else:
            self._listeners.append(queue)
        return queue

    def silence(self, queue: asyncio.Queue[bytes]) -> None:
        """Nobody reads it any more."""
        if queue in self._listeners:
            self._listeners.remove(queue)

    def tell(self, line: bytes) -> None:
        """Give a line to all who listen; one who is too slow misses progress."""
        for queue in self._listeners:
            if queue.qsize() < _LINES - 1:
                queue.put_nowait(line)

    def settle(self, outcome: bytes) -> None:
        """It has ended."""
        self.outcome = outcome
        for queue in self._listeners:
            queue.put_nowait(outcome)
        self._listeners.clear()
