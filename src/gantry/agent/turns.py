"""One after the other: the orders of a job on a node, in the order in which they came."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator


class Turns:
    """A queue for each job that has orders here."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def of(self, job: str) -> AsyncIterator[None]:
        """Until it is this order's turn; in the order of the calls."""
        self._users[job] += 1
        try:
            async with self._locks.setdefault(job, asyncio.Lock()):
                yield
        finally:
            self._users[job] -= 1
            if not self._users[job]:
                del self._users[job], self._locks[job]
