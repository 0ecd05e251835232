"""Keeping a lease alive, and knowing for certain how long it still holds; what for is not known.

The time left is counted from before the last renewal was sent, on a clock that also runs while
the machine is suspended: so it ends here before it can end in the store.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from gantry.model.errors import GantryError, Unavailable
from gantry.ports.clock import Clock
from gantry.ports.store import Lease, LeaseGone, LeaseId, Store

logger = logging.getLogger(__name__)

_RENEWALS: Final = 4
"""In the time of a lease: so two may get lost."""
_TRIES: Final = 20
"""Tries in the time of a lease, while the store does not answer."""


class LeaseKeeper:
    """One lease; use ``await LeaseKeeper.grant(…)`` and run ``keep`` in a task."""

    def __init__(self, lease: Lease, clock: Clock, sent: float) -> None:
        self._lease = lease
        self._clock = clock
        self._end = sent + lease.ttl_seconds

    @classmethod
    async def grant(cls, store: Store, ttl_seconds: float, clock: Clock) -> LeaseKeeper:
        """A new lease; Unavailable where the store does not answer in its time."""
        sent = clock.monotonic()
        try:
            async with asyncio.timeout(ttl_seconds):
                lease = await store.grant(ttl_seconds)
        except TimeoutError:
            raise Unavailable("the store does not answer") from None
        return cls(lease, clock, sent)

    @property
    def id(self) -> LeaseId:
        """What ``Put.lease`` takes."""
        return self._lease.id

    def left(self) -> float:
        """Seconds for which the lease certainly still holds; not above 0 when it may be over."""
        return self._end - self._clock.monotonic()

    async def keep(self) -> None:
        """Renew it in time, again and again; returns when it is over."""
        ttl = self._lease.ttl_seconds
        while self.left() > 0:
            pause = ttl / (_RENEWALS if await self._renew() else _TRIES)
            await self._clock.sleep(min(pause, max(self.left(), 0.0)))
        logger.error("the lease is over")

    async def give_up(self) -> None:
        """End it now: whoever waits for that need not wait for its time."""
        self._end = min(self._end, self._clock.monotonic())
        await self._lease.revoke()

    async def _renew(self) -> bool:
        sent = self._clock.monotonic()
        try:
            async with asyncio.timeout(max(self.left(), 0.0)):
                await self._lease.keep_alive()
        except LeaseGone:
            self._end = min(self._end, sent)
            return False
        except (GantryError, TimeoutError) as error:
            logger.warning("the lease was not renewed: %s", str(error) or "no answer")
            return False
        self._end = sent + self._lease.ttl_seconds
        return True
