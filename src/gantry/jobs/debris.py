"""Orders that are owed to nodes: cleaning after a commit, undos that did not get through."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from gantry.jobs import codec
from gantry.jobs.codec import DebrisRecord
from gantry.jobs.context import Context
from gantry.model import timeouts
from gantry.model.errors import GantryError, Rejected, Superseded
from gantry.model.names import Uuid
from gantry.model.orders import NodeLeave, Order
from gantry.ports.store import Delete


class Debris:
    """What is owed, in memory and in the store; tried again when its node comes back."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._owed: dict[str, DebrisRecord] = {}
        self._trying: set[str] = set()

    def add(self, key: str, record: DebrisRecord) -> None:
        """The store has ``record`` under ``key``; it is not tried now."""
        self._owed[key] = record

    @property
    def owed(self) -> dict[str, DebrisRecord]:
        """All of it."""
        return dict(self._owed)

    def node_back(self, node: Uuid) -> None:
        """A node answers again: carry out what is owed to it."""
        keys = [key for key, record in self._owed.items() if record.to.node == node]
        if keys:
            self._context.background.start(self._again(keys))

    async def carry_out(self, key: str, record: DebrisRecord) -> str:
        """Do it once; what went wrong in words, or nothing. The store is not told."""
        turn = self._context.clock.random_bytes(6).hex()
        name = f"{key.removeprefix(codec.DEBRIS)}/debris/{turn}"
        envelope = self._context.envelope(name, record.job, timeouts.NORMAL)
        try:
            async with asyncio.timeout(timeouts.NORMAL + timeouts.CONNECT):
                order: Order[Any] = record.order
                await self._context.agents.order(record.to, envelope, order)
        except TimeoutError:
            return f"node {record.to.name} did not answer in time"
        except Superseded as error:
            raise self._context.journal.superseded(error) from error
        except Rejected as error:
            # A machine that has left refuses to be told so again.
            return "" if isinstance(record.order, NodeLeave) else error.message
        except GantryError as error:
            return error.message
        return ""

    async def _again(self, keys: Iterable[str]) -> None:
        for key in keys:
            if key in self._trying or key not in self._owed:
                continue
            self._trying.add(key)
            try:
                if not await self.carry_out(key, self._owed[key]):
                    await self._context.journal.write([Delete(key)])
                    del self._owed[key]
            finally:
                self._trying.discard(key)
