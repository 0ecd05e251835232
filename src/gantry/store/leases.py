"""The clocks of leases, for drivers that end leases themselves; knows no keys and no files."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gantry.ports.store import LeaseGone, LeaseId, StoreUnavailable


class LeaseClocks:
    """One timer per lease of this process; ``end`` is awaited when a lease's time is over."""

    def __init__(self, end: Callable[[LeaseId], Awaitable[None]]) -> None:
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._timers: dict[LeaseId, asyncio.TimerHandle] = {}
        self._endings: set[asyncio.Task[None]] = set()

    def start(self, lease: LeaseId, ttl_seconds: float) -> None:
        """Let the lease run for its whole time from now."""
        self.stop(lease)
        self._timers[lease] = self._loop.call_later(ttl_seconds, self._over, lease, ttl_seconds)

    def renew(self, lease: LeaseId, ttl_seconds: float) -> None:
        """The same for a lease that is running; raises LeaseGone for any other."""
        if lease not in self._timers:
            raise LeaseGone(lease)
        self.start(lease, ttl_seconds)

    def stop(self, lease: LeaseId) -> None:
        """Forget the lease's timer, if it has one."""
        timer = self._timers.pop(lease, None)
        if timer is not None:
            timer.cancel()

    async def close(self) -> None:
        """Stop all timers and wait for the endings that are under way."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        await asyncio.gather(*self._endings)

    def _over(self, lease: LeaseId, ttl_seconds: float) -> None:
        del self._timers[lease]
        task = self._loop.create_task(self._finish(lease, ttl_seconds))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def _finish(self, lease: LeaseId, ttl_seconds: float) -> None:
        try:
            await self._end(lease)
        except StoreUnavailable:
            # A full disk must not make a lease immortal: try again after its time.
            self._timers[lease] = self._loop.call_later(ttl_seconds, self._over, lease, ttl_seconds)


class TimedLease:
    """A lease whose clock runs in this process."""

    def __init__(
        self,
        lease: LeaseId,
        ttl_seconds: float,
        clocks: LeaseClocks,
        end: Callable[[LeaseId], Awaitable[None]],
    ) -> None:
        self._id = lease
        self._ttl_seconds = ttl_seconds
        self._clocks = clocks
        self._end = end

    @property
    def id(self) -> LeaseId:
        """What ``Put.lease`` takes."""
        return self._id

    @property
    def ttl_seconds(self) -> float:
        """The time granted."""
        return self._ttl_seconds

    async def keep_alive(self) -> None:
        """Start the whole time again; raises LeaseGone when it is over."""
        self._clocks.renew(self._id, self._ttl_seconds)

    async def revoke(self) -> None:
        """End it now, its keys with it."""
        await self._end(self._id)
        self._clocks.stop(self._id)
