"""Agents that pass everything on: the base of those that look at what passes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

import msgspec

from gantry.model.orders import Order, Question
from gantry.ports.agents import Address, Agents, Announced, Envelope, Event, Progress

A = TypeVar("A", bound=msgspec.Struct)


class PassingAgents:
    """Implements ``gantry.ports.agents.Agents`` by others."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents

    async def order(
        self,
        to: Address,
        envelope: Envelope,
        order: Order[A],
        progress: Callable[[Progress], None] | None = None,
    ) -> A:
        """As the agents do it."""
        return await self._agents.order(to, envelope, order, progress)

    async def ask(self, to: Address, question: Question[A], timeout: float) -> A:
        """As the agents do it; the limit is the agents' own."""
        return await self._agents.ask(to, question, timeout)

    async def cancel(self, to: Address, key: str, epoch: int) -> None:
        """As the agents do it."""
        await self._agents.cancel(to, key, epoch)

    async def forget(self, to: Address, prefixes: Sequence[str], epoch: int) -> None:
        """As the agents do it."""
        await self._agents.forget(to, prefixes, epoch)

    async def announce(self, to: Address, epoch: int) -> Announced:
        """As the agents do it."""
        return await self._agents.announce(to, epoch)

    def events(self, of: Address) -> AsyncIterator[Event]:
        """As the agents do it."""
        return self._agents.events(of)
