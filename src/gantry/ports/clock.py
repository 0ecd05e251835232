"""Time and chance, so that decisions can be repeated in a test."""

from __future__ import annotations

from typing import Protocol

from gantry.model.names import Uuid


class Clock(Protocol):
    """Where time and random values come from."""

    def now(self) -> float:
        """Seconds since 1970."""

    def monotonic(self) -> float:
        """Seconds that never jump; they also pass while the machine is suspended."""

    def uuid(self) -> Uuid:
        """A new random uuid."""

    def random_bytes(self, count: int) -> bytes:
        """Random bytes."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""
