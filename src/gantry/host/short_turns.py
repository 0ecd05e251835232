"""Few short scripts at a time in one process, however many phases there are.

Agents of many nodes may share a process, and many threads that each start a program are slower
than a few: they fight for the interpreter. What takes longer gives its turn to others.
"""

from __future__ import annotations

import os
import threading
from typing import Final, Self

_TURNS: Final = threading.Semaphore(max(2, os.cpu_count() or 1))


class Turn:
    """Of one thread: ``with`` waits for it; it ends with ``over``, at the latest with the block."""

    def __init__(self) -> None:
        self._has = False

    def __enter__(self) -> Self:
        _TURNS.acquire()
        self._has = True
        return self

    def __exit__(self, *_: object) -> None:
        self.over()

    def over(self) -> None:
        """Somebody else may have it."""
        if self._has:
            self._has = False
            _TURNS.release()
