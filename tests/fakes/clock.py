"""``ports.clock.Clock`` without waiting: time goes on when asked, chance comes from a seed."""

from __future__ import annotations

import asyncio
import random
import uuid

from gantry.model.names import Uuid


class FakeClock:
    """``sleep`` ends at once and moves the time."""

    def __init__(self, seed: int = 1, start: float = 1_800_000_000.0) -> None:
        self._random = random.Random(seed)
        self._now = start

    def now(self) -> float:
        """Seconds since 1970; every look is a little later."""
        self._now += 0.001
        return self._now

    def monotonic(self) -> float:
        """The same clock."""
        return self._now

    def uuid(self) -> Uuid:
        """From the seed."""
        return Uuid(str(uuid.UUID(int=self._random.getrandbits(128), version=4)))

    def random_bytes(self, count: int) -> bytes:
        """From the seed."""
        return self._random.randbytes(count)

    async def sleep(self, seconds: float) -> None:
        """Move the time, and let others run."""
        self._now += seconds
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        """Move the time."""
        self._now += seconds
