"""Waking the watches of one process when something was committed; holds no history."""

from __future__ import annotations

import asyncio


class Changes:
    """A bell that all waiting watches hear; ``closed`` is final."""

    def __init__(self) -> None:
        self._bell = asyncio.Event()
        self.closed = False

    def ring(self) -> None:
        """Wake all who wait now."""
        self._bell.set()
        self._bell = asyncio.Event()

    def close(self) -> None:
        """Wake all, for the last time."""
        self.closed = True
        self._bell.set()

    def next_ring(self) -> asyncio.Event:
        """The bell to wait for; take it *before* looking, or a change may be missed."""
        return self._bell
