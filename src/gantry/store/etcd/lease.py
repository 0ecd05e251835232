"""A lease of etcd. It counts whole seconds, and grants more than was asked for where it must."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import Final

from gantry.model import timeouts
from gantry.ports.store import LeaseGone, LeaseId, StoreUnavailable
from gantry.store.etcd import wire
from gantry.store.etcd.gateway import Gateway, Patience
from gantry.store.etcd.problems import Fault, Refused

_PARTS: Final = (1 / 6, 1 / 4, 1 / 2)
"""Of a lease's time, for the first tries of a renewal."""


class EtcdLease:
    """See the port."""

    def __init__(self, gateway: Gateway, lease: LeaseId, ttl_seconds: float, slot: bytes) -> None:
        """``slot`` is any key that the store's user may read."""
        self.id = lease
        self.ttl_seconds = ttl_seconds
        self._gateway = gateway
        self._slot = slot
        # A member that hangs must not take the whole lease with it; nor must all that are slow.
        tries = tuple(
            min(most, ttl_seconds * part)
            for most, part in zip(timeouts.STORE_TRIES, _PARTS, strict=True)
        )
        self._patience = Patience(tries=tries, whole=min(gateway.patience.whole, ttl_seconds))

    @classmethod
    async def grant(cls, gateway: Gateway, ttl_seconds: float, slot: bytes) -> EtcdLease:
        """A new one; one whose answer was lost ends by itself."""
        request = wire.GrantRequest(max(1, math.ceil(ttl_seconds)))
        answer = (await gateway.call(wire.GRANT, request, wire.GrantAnswer)).value
        return cls(gateway, LeaseId(answer.ID), float(answer.TTL), slot)

    async def keep_alive(self) -> None:
        """Start the whole time again; raises LeaseGone when it is over."""
        try:
            async with asyncio.timeout(self._patience.whole):
                while not await self._renewed():
                    pass
        except TimeoutError:
            raise StoreUnavailable(
                f"etcd has not renewed a lease of {self.ttl_seconds:.0f} s in this time"
            ) from None

    async def revoke(self) -> None:
        """End it now; a lease that is gone is no error."""
        with contextlib.suppress(Refused):
            await self._gateway.call(wire.REVOKE, wire.LeaseRequest(self.id), wire.Done)

    async def _renewed(self) -> bool:
        """Whether a leader renewed it that was one; raises LeaseGone.

        A leader that was frozen renews before it hears that it was replaced. A read is answered
        only after a majority has confirmed the leader, and says in which term.
        """
        answer = await self._gateway.call(
            wire.KEEP_ALIVE,
            wire.LeaseRequest(self.id),
            wire.KeepAliveAnswer,
            patience=self._patience,
        )
        kept = answer.value.result
        if kept.TTL <= 0:
            raise LeaseGone(self.id)
        with contextlib.suppress(Fault):
            found = await self._gateway.ask(
                answer.endpoint,
                wire.RANGE,
                wire.RangeRequest(self._slot, count_only=True),
                wire.RangeAnswer,
                self._patience.of(1),
            )
            return found.header.raft_term == kept.header.raft_term
        self._gateway.avoid(answer.endpoint)
        return False
