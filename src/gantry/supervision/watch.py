"""One event stream a node, kept open; what comes becomes the live states."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gantry.model import timeouts
from gantry.model.errors import GantryError, Unavailable
from gantry.model.names import Uuid
from gantry.ports.agents import (
    Address,
    Agents,
    Event,
    FactsChanged,
    GuestChanged,
    Heartbeat,
    Hello,
)
from gantry.ports.clock import Clock
from gantry.supervision.states import States

_log = logging.getLogger(__name__)


class Watch:
    """The streams of all nodes. ``came`` is awaited whenever a node is heard of (again);
    ``changed`` is called with a node's uuid after every change of its guests.
    """

    def __init__(
        self,
        agents: Agents,
        states: States,
        clock: Clock,
        came: Callable[[Address], Awaitable[None]],
        changed: Callable[[Uuid], None],
    ) -> None:
        self._agents = agents
        self._states = states
        self._clock = clock
        self._came = came
        self._changed = changed
        self._tasks: dict[Address, asyncio.Task[None]] = {}

    def update(self, addresses: set[Address]) -> None:
        """Watch exactly these nodes from now on."""
        for gone in set(self._tasks) - addresses:
            self._tasks.pop(gone).cancel()
            if gone.node not in {address.node for address in addresses}:
                self._states.forget(gone.node)
        for new in addresses - set(self._tasks):
            self._tasks[new] = asyncio.create_task(self._keep(new), name=f"watch {new.name}")

    async def close(self) -> None:
        """End all streams."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, address: Address) -> None:
        while True:
            try:
                await self._follow(address)
                problem = "its event stream ended"
            except (GantryError, TimeoutError) as error:
                problem = str(error) or "its event stream went silent"
            if self._states.of(address.node).reachable:
                await self._again(address, problem)
            else:
                self._states.lost(address.node, problem)
                self._changed(address.node)
                await self._clock.sleep(timeouts.RECONNECT)

    async def _again(self, address: Address, problem: str) -> None:
        """The stream broke: the node is down only if it stays away for some time."""
        deadline = self._clock.monotonic() + timeouts.NODE_DOWN_AFTER
        while self._clock.monotonic() < deadline:
            await self._clock.sleep(timeouts.RECONNECT)
            try:
                left = max(deadline - self._clock.monotonic(), timeouts.RECONNECT)
                await self._follow(address, connect=left)
                deadline = self._clock.monotonic() + timeouts.NODE_DOWN_AFTER
            except (GantryError, TimeoutError) as error:
                problem = str(error) or problem
        _log.warning("node %s is lost: %s", address.name, problem)
        self._states.lost(address.node, problem)
        self._changed(address.node)

    async def _follow(self, address: Address, connect: float | None = None) -> None:
        """Take over events until the stream ends or is silent for too long."""
        limit = connect or timeouts.CONNECT + timeouts.EVENT_HEARTBEAT
        stream = self._agents.events(address)
        try:
            while True:
                async with asyncio.timeout(limit):
                    event = await anext(stream, None)
                if event is None:
                    return
                await self._take(address, event)
                limit = timeouts.NODE_DOWN_AFTER
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()

    async def _take(self, address: Address, event: Event) -> None:
        match event:
            case Hello():
                self._states.hello(address.node, event.facts, event.guests)
                self._changed(address.node)
                await self._greet(address)
            case GuestChanged():
                self._states.guest(address.node, event.guest, event.forgotten)
                self._changed(address.node)
            case FactsChanged():
                self._states.facts(address.node, event.facts)
            case Heartbeat():
                pass

    async def _greet(self, address: Address) -> None:
        try:
            await self._came(address)
        except Unavailable as error:
            _log.warning("node %s went away again: %s", address.name, error)
