"""Few short scripts at a time in one process, however many phases there are.

Agents of many nodes may share a process, and many threads that each start a program are slower
than a few: they fight for the interpreter. What takes longer gives its turn to others.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import Final, Self

_SCRIPTS: Final = 16
"""Short ones in one turn while somebody waits."""


class _Places:
    """So many, given to those who wait in the order in which they came.

    ``threading.Semaphore`` gives them to whoever is there first, which is mostly the one who has
    just given one back.
    """

    def __init__(self, places: int) -> None:
        self._lock = threading.Lock()
        self._free = places
        self.waiting: deque[threading.Lock] = deque()

    def limit(self, places: int) -> None:
        """So many instead, while nobody has any."""
        with self._lock:
            self._free = places

    def take(self, *, first: bool = False) -> None:
        """Wait for one; ``first`` before all others who wait."""
        with self._lock:
            if self._free:
                self._free -= 1
                return
            gate = threading.Lock()
            gate.acquire()
            if first:
                self.waiting.appendleft(gate)
            else:
                self.waiting.append(gate)
        gate.acquire()

    def give(self) -> None:
        """To the one who has waited longest, or back."""
        with self._lock:
            if self.waiting:
                self.waiting.popleft().release()
            else:
                self._free += 1


_PLACES: Final = _Places(max(2, os.cpu_count() or 1))


def share(processes: int) -> None:
    """Before anything is run: so many processes with many agents share the machine.

    More threads than processors are left for this one would only fight for the interpreter,
    which costs a tenth of a small script's time for each script.
    """
    _PLACES.limit(max(1, (os.cpu_count() or 1) // processes))


class Turn:
    """Of one thread: ``with`` waits for it; it ends with ``over``, at the latest with the block."""

    def __init__(self) -> None:
        self._has = False
        self._left = 0

    def go_on(self, *, first: bool = False) -> None:
        """Begin one more script; after some, those who wait have their turn first.

        ``first``: for who has what others need, and had given his turn on.
        """
        if self._has and (self._left > 0 or not _PLACES.waiting):
            self._left -= 1
            return
        self.over()
        self._take(first=first)
        self._left -= 1

    def __enter__(self) -> Self:
        self._take()
        return self

    def _take(self, *, first: bool = False) -> None:
        _PLACES.take(first=first)
        self._has = True
        self._left = _SCRIPTS

    def __exit__(self, *_: object) -> None:
        self.over()

    def over(self) -> None:
        """Somebody else may have it."""
        if self._has:
            self._has = False
            _PLACES.give()
