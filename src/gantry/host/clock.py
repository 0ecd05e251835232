"""The real clock and real chance, behind ``gantry.ports.clock.Clock``."""

from __future__ import annotations

import asyncio
import os
import time
import uuid

from gantry.model.names import Uuid


def boottime() -> float:
    """Seconds that never jump; they also pass while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SystemClock:
    """Time and random values of this machine."""

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump; they also pass while the machine is suspended."""
        return boottime()

    def uuid(self) -> Uuid:
        """A new random uuid."""
        return Uuid(str(uuid.uuid4()))

    def random_bytes(self, count: int) -> bytes:
        """Random bytes."""
        return os.urandom(count)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
