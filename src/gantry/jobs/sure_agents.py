"""Agents of a master that was elected: the store says who is master, not one of them.

An agent that refuses this master for a later one is either right, and then the election key is
not ours any more; or it remembers what the store was set back from, or lies. Of those the cluster
does without the one node, as it does without one that does not answer.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from gantry.jobs import codec
from gantry.model.errors import Reason, Superseded, Unavailable
from gantry.model.orders import Order
from gantry.ports.agents import Address, Agents, Announced, Envelope, Progress
from gantry.ports.passing import PassingAgents
from gantry.ports.store import Store, StoreUnavailable

A = TypeVar("A", bound=msgspec.Struct)
T = TypeVar("T")
logger = logging.getLogger(__name__)


class SureAgents(PassingAgents):
    """As ``agents``, but Superseded comes only where the key of ``revision`` is not there."""

    def __init__(self, agents: Agents, store: Store, revision: int) -> None:
        super().__init__(agents)
        self._store = store
        self._revision = revision

    async def order(
        self,
        to: Address,
        envelope: Envelope,
        order: Order[A],
        progress: Callable[[Progress], None] | None = None,
    ) -> A:
        """As the agents do it."""
        return await self._surely(to, super().order(to, envelope, order, progress))

    async def cancel(self, to: Address, key: str, epoch: int) -> None:
        """As the agents do it."""
        await self._surely(to, super().cancel(to, key, epoch))

    async def forget(self, to: Address, prefixes: Sequence[str], epoch: int) -> None:
        """As the agents do it."""
        await self._surely(to, super().forget(to, prefixes, epoch))

    async def announce(self, to: Address, epoch: int) -> Announced:
        """As the agents do it."""
        return await self._surely(to, super().announce(to, epoch))

    async def _surely(self, to: Address, call: Awaitable[T]) -> T:
        try:
            return await call
        except Superseded as error:
            if not await self._still():
                raise
            logger.error("node %s refuses the master, and there is no other: %s", to.name, error)
            raise Unavailable(
                f"node {to.name} refuses this master as if there were a later one, and the "
                "store knows of none",
                "restart gantry-master where the master is; if that does not help, do not trust "
                "the node: stop its agent and mark it offline",
                reason=Reason.STATE,
                node=to.name,
            ) from error

    async def _still(self) -> bool:
        """Whether the election key is the one that this master put."""
        try:
            item = await self._store.get(codec.ELECTION)
        except StoreUnavailable:
            return False
        return item is not None and item.mod_revision == self._revision
