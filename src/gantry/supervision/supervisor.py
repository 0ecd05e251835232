"""Puts the pieces together: watches every node, restarts what should be up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from gantry.model import timeouts
from gantry.model.entities import Mirror, Node, Rollout
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.ports.agents import Address, Agents
from gantry.ports.clock import Clock
from gantry.ports.queue import Queue
from gantry.supervision.bundles import CatchUp
from gantry.supervision.keeper import Keeper
from gantry.supervision.restart import Restarts
from gantry.supervision.states import States
from gantry.supervision.watch import Watch

_log = logging.getLogger(__name__)


def addresses(cluster: Snapshot) -> set[Address]:
    """Where the agents of all nodes that are not offline answer."""
    return {
        Address(node=node.uuid, name=node.name, host=node.primary_ip, port=node.port)
        for node in cluster.nodes.values()
        if not node.offline
    }


class Supervisor:
    """Runs beside the queue in the master; ``came`` is told of every node that appears."""

    def __init__(
        self,
        queue: Queue,
        agents: Agents,
        states: States,
        clock: Clock,
        came: Callable[[Address], Awaitable[None]],
    ) -> None:
        self._queue = queue
        self._states = states
        self._watch = Watch(agents, states, clock, came, self._touched)
        self._restarts = Restarts(queue, clock)
        self._catch_up = CatchUp(queue, clock)
        self._keeper = Keeper(queue, clock, self._look_again)
        self._nodes: Mapping[Uuid, Node] | None = None
        self._maintain: bool | None = None
        self._rollouts: Mapping[Uuid, Rollout] | None = None
        self._mirrors: Mapping[Uuid, Mirror] = {}
        self._mirrored: set[Uuid] = set()
        self._dirty: set[Uuid] = set()
        self._guests: set[Uuid] = set()
        self._later: set[Uuid] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._spoke = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def listen(self, nodes: Iterable[Uuid], timeout: float) -> None:
        """Begin to watch; returns when all of ``nodes`` have spoken, or after ``timeout`` s.

        Decisions about nodes that have not spoken yet would be made blindly.
        """
        self.refresh()
        awaited = set(nodes)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while any(not self._states.of(node).reachable for node in awaited):
                    self._spoke.clear()
                    await self._spoke.wait()

    def start(self) -> None:
        """Begin to restart guests."""
        self._restarts.recall()
        self._task = asyncio.create_task(self._restart(), name="restarts")

    def refresh(self) -> None:
        """Objects changed. Called after every commit, so it looks at nodes only if those did."""
        cluster = self._queue.snapshot()
        settings = cluster.cluster.maintain
        if cluster.rollouts is not self._rollouts:
            self._rollouts = cluster.rollouts
            self._wake.set()
        if cluster.mirrors is not self._mirrors:
            before, self._mirrors = self._mirrors, cluster.mirrors
            self._mirrored = {one.instance for one in self._mirrors.values()}
            changed = [one for one in self._mirrors.values() if before.get(one.uuid) is not one]
            self._guests.update(one.instance for one in changed)
            self._wake.set()
        if cluster.nodes is self._nodes and settings == self._maintain:
            return
        self._nodes, self._maintain = cluster.nodes, settings
        self._watch.update(addresses(cluster))
        self._dirty.update(cluster.nodes)
        self._wake.set()

    async def close(self) -> None:
        """End everything; what the agents run goes on."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._keeper.close()
        await self._watch.close()

    def _touched(self, node: Uuid, guest: Uuid | None) -> None:
        self._spoke.set()
        if guest is None:
            self._dirty.add(node)
            self._catch_up.came(node)
        elif guest in self._mirrored or not self._up(node, guest):
            self._guests.add(guest)
        else:
            return
        self._wake.set()

    def _up(self, node: Uuid, guest: Uuid) -> bool:
        found = self._states.of(node).guests.get(guest)
        return found is not None and found.up

    async def _restart(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            dirty, self._dirty = self._dirty, set()
            guests, self._guests = self._guests, set()
            if self._mirrored:
                about = guests.union(*map(self._keeper.of_node, dirty))
                self._keeper.look(about & self._mirrored)
            self._later |= await self._restarts.look(dirty, guests)
            under_way = await self._catch_up.look()
            if self._later or under_way:
                self._set_timer()

    def _look_again(self, instance: Uuid) -> None:
        self._later.add(instance)
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(timeouts.LOOK_AGAIN, self._again)

    def _again(self) -> None:
        self._timer = None
        self._guests |= self._later
        self._later = set()
        self._wake.set()
