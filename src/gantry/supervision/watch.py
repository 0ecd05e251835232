"""One event stream a node, kept open; what comes becomes the live states."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from gantry.model import timeouts
from gantry.model.errors import GantryError
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

_FIRST: Final = timeouts.CONNECT + timeouts.EVENT_HEARTBEAT
"""Seconds until a new stream must have said something."""
_SILENCE: Final = 2 * timeouts.EVENT_HEARTBEAT + timeouts.KNOCK
"""Then the stream is given up, early enough for another attempt before the node is lost."""


class Watch:
    """The streams of all nodes. ``came`` is awaited whenever a node is heard of (again);
    ``changed`` is called with a node's uuid, and a guest's where only that one is meant, after
    every change that may leave a guest down that should be up, or is about its replicas.
    """

    def __init__(
        self,
        agents: Agents,
        states: States,
        clock: Clock,
        came: Callable[[Address], Awaitable[None]],
        changed: Callable[[Uuid, Uuid | None], None],
    ) -> None:
        self._agents = agents
        self._states = states
        self._clock = clock
        self._came = came
        self._changed = changed
        self._tasks: dict[Address, asyncio.Task[None]] = {}
        self._heard: dict[Uuid, float] = {}

    def update(self, addresses: set[Address]) -> None:
        """Watch exactly these nodes from now on."""
        for gone in set(self._tasks) - addresses:
            self._tasks.pop(gone).cancel()
            if gone.node not in {address.node for address in addresses}:
                self._states.forget(gone.node)
                self._heard.pop(gone.node, None)
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
        """Follow the stream, again and again; a node is lost only if it stays away some time."""
        while True:
            try:
                await self._follow(address)
                problem = "its event stream ended"
            except TimeoutError:
                problem = "its event stream went silent"
            except GantryError as error:
                problem = str(error)
            if self._left(address) <= 0:
                self._lose(address, problem)
            await self._clock.sleep(timeouts.LISTEN_AGAIN)

    def _lose(self, address: Address, problem: str) -> None:
        was = self._states.of(address.node).reachable
        self._states.lost(address.node, problem)
        if was:
            _log.warning("node %s is lost: %s", address.name, problem)
            self._changed(address.node, None)

    def _left(self, address: Address) -> float:
        """Seconds for which the node may still stay away before it is lost."""
        heard = self._heard.get(address.node)
        if heard is None:
            return 0.0
        return heard + timeouts.NODE_DOWN_AFTER - self._clock.monotonic()

    async def _follow(self, address: Address) -> None:
        """Take over events until the stream ends or is silent for too long."""
        left = self._left(address)
        limit = min(left, _FIRST) if left > 0 else _FIRST
        stream = self._agents.events(address)
        try:
            while True:
                async with asyncio.timeout(max(limit, timeouts.RECONNECT)):
                    event = await anext(stream, None)
                if event is None:
                    return
                self._heard[address.node] = self._clock.monotonic()
                await self._take(address, event)
                limit = _SILENCE
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()

    async def _take(self, address: Address, event: Event) -> None:
        match event:
            case Hello():
                self._states.hello(address.node, event.facts, event.guests)
                self._changed(address.node, None)
                await self._greet(address)
            case GuestChanged():
                self._states.guest(address.node, event.guest, event.forgotten)
                self._changed(address.node, event.guest.uuid)
            case FactsChanged():
                self._states.facts(address.node, event.facts)
            case Heartbeat():
                pass

    async def _greet(self, address: Address) -> None:
        try:
            await self._came(address)
        except GantryError as error:
            _log.warning("node %s does not take this master: %s", address.name, error)
