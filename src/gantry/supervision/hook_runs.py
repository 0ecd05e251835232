"""The master's index of what hook scripts did: told by answers, else asked of the agents.

An answer that never came, scripts that ran without a master, an index that was lost: in each
case a node's ledger is ahead of what is known, and the rest is fetched. What a record says is
made elsewhere (``gantry.hooks.record``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

import msgspec

from gantry.hooks.record import runs_of
from gantry.model import timeouts
from gantry.model.errors import GantryError
from gantry.model.hook_orders import HooksRan, HooksRun
from gantry.model.hook_runs import HookRun, HookRunChoice, ReadHookRuns
from gantry.model.names import Uuid
from gantry.model.orders import Order
from gantry.model.snapshot import Snapshot
from gantry.ports.agents import Address, Agents, Envelope, Progress
from gantry.ports.clock import Clock
from gantry.ports.passing import PassingAgents

A = TypeVar("A", bound=msgspec.Struct)
_PATIENCE: Final = 2.0
"""Seconds that a reader waits for nodes which are behind; what comes later is there next time."""
_PAUSE: Final = 0.5
"""Seconds for which runs gather before they are written."""
_PAGE: Final = 1000

logger = logging.getLogger(__name__)


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """For how many days runs are kept in the index, and how many."""

    days: float = 90.0
    runs: int = 200_000


class RunIndex(Protocol):
    """Where the index is kept (``gantry.history``)."""

    async def ledgers(self) -> dict[Uuid, tuple[str, int]]:
        """For each node the ledger that is known, and the serial up to which it is."""

    async def add(
        self, runs: Sequence[HookRun], ledgers: Sequence[tuple[Uuid, str, int]] = ()
    ) -> None:
        """Keep runs; the same ones again change nothing."""

    async def find(self, choice: HookRunChoice) -> list[HookRun]:
        """Those that were chosen, newest first."""

    async def get(self, run: str) -> HookRun | None:
        """One run by the beginning of its id."""

    async def prune(self, before: float, most: int) -> None:
        """Forget the oldest."""


class HookRuns:
    """One for a master; ``agents`` are asked for what is missing."""

    def __init__(self, index: RunIndex, agents: Agents, clock: Clock, bounds: Bounds) -> None:
        self._index = index
        self._agents = agents
        self._clock = clock
        self._bounds = bounds
        self._known: dict[Uuid, tuple[str, int]] = {}
        self._written: dict[Uuid, tuple[str, int]] = {}
        """What the index knows: less than ``_known``, while runs wait to be written."""
        self._behind: dict[Uuid, Address] = {}
        self._fetching: dict[Uuid, asyncio.Task[None]] = {}
        self._waiting: list[HookRun] = []
        self._moved: set[Uuid] = set()
        self._fetched = 0
        """Runs that were fetched since the index was last pruned."""
        self._writer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read what is known."""
        self._written = await self._index.ledgers()
        self._known = dict(self._written)

    async def close(self) -> None:
        """End everything; what is not written is fetched again by the next master."""
        tasks = [*self._fetching.values(), *([self._writer] if self._writer else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self._write()
        except GantryError as error:
            logger.warning("the index of hook runs: %s", error)

    def told(self, to: Address, order: HooksRun, ran: HooksRan) -> None:
        """A phase has answered."""
        kept = ran.kept
        if kept is None:
            return
        runs = runs_of(order, to.name, ran.results)
        self._waiting += runs
        ledger, serial = self._known.get(to.node, ("", 0))
        if kept.ledger == ledger and kept.before <= serial and kept.last - kept.before == len(runs):
            self._known[to.node] = (ledger, max(serial, kept.last))
            self._moved.add(to.node)
        else:
            self.missed(to)
        self._write_soon()

    def missed(self, node: Address) -> None:
        """There may be runs on that node that nobody told of."""
        self._behind[node.node] = node
        if node.node not in self._fetching:
            task = asyncio.get_running_loop().create_task(self._fetch(node.node))
            self._fetching[node.node] = task

    def look(self, cluster: Snapshot) -> None:
        """Ask all nodes that answer: what ended after its master had gone was told to nobody."""
        for node in cluster.nodes.values():
            if cluster.node_live(node.uuid).reachable:
                self.missed(Address(node.uuid, node.name, node.primary_ip, node.port))

    async def find(self, choice: HookRunChoice) -> list[HookRun]:
        """Those that were chosen, newest first, with what the nodes have told until now."""
        await self._settled()
        return await self._index.find(choice)

    async def get(self, run: str) -> HookRun | None:
        """One run by the beginning of its id."""
        await self._settled()
        return await self._index.get(run)

    async def prune(self) -> None:
        """Forget what is too old or too much."""
        before = self._clock.now() - self._bounds.days * 86400.0
        await self._index.prune(before, self._bounds.runs)

    async def _settled(self) -> None:
        if self._fetching:
            await asyncio.wait(list(self._fetching.values()), timeout=_PATIENCE)
        await self._write()

    def _write_soon(self) -> None:
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._write_later())

    async def _write_later(self) -> None:
        await self._clock.sleep(_PAUSE)
        try:
            await self._write()
        except GantryError as error:
            logger.warning("the index of hook runs: %s", error)

    async def _write(self) -> None:
        runs, self._waiting = self._waiting, []
        moved, self._moved = self._moved, set()
        if not runs and not moved:
            return
        known = {node: self._known[node] for node in moved}
        try:
            await self._index.add(runs, [(node, *ledger) for node, ledger in known.items()])
        except BaseException:
            # They are in no index, and nobody has them here any more: they are to be fetched.
            for node in moved:
                self._known[node] = self._written.get(node, ("", 0))
            raise
        self._written |= known

    async def _fetch(self, node: Uuid) -> None:
        """Until nothing is missing of that node, or it does not answer."""
        try:
            while (address := self._behind.pop(node, None)) is not None:
                while await self._page(address):
                    pass
        except GantryError as error:
            # It is asked again when it comes back.
            logger.info("hook runs of node %s: %s", node, error)
        finally:
            self._fetching.pop(node, None)

    async def _page(self, of: Address) -> bool:
        ledger, serial = self._known.get(of.node, ("", 0))
        question = ReadHookRuns(
            ledger=ledger,
            after=serial,
            since=self._clock.now() - self._bounds.days * 86400.0,
            limit=_PAGE,
        )
        page = await self._agents.ask(of, question, timeouts.URGENT)
        await self._index.add(page.runs, [(of.node, page.kept.ledger, page.kept.last)])
        self._known[of.node] = self._written[of.node] = (page.kept.ledger, page.kept.last)
        self._fetched += len(page.runs)
        if self._fetched > self._bounds.runs // 4:
            # An index that is made anew would else have all that all nodes keep.
            self._fetched = 0
            await self.prune()
        return page.more


class RecordedAgents(PassingAgents):
    """Agents whose answers about hooks are recorded as they come."""

    def __init__(self, agents: Agents, runs: HookRuns) -> None:
        super().__init__(agents)
        self._runs = runs

    async def order(
        self,
        to: Address,
        envelope: Envelope,
        order: Order[A],
        progress: Callable[[Progress], None] | None = None,
    ) -> A:
        """As the agents do it."""
        ran: A | None = None
        try:
            ran = await super().order(to, envelope, order, progress)
            return ran
        finally:
            if isinstance(order, HooksRun):
                self._recorded(to, order, ran)

    def _recorded(self, to: Address, order: HooksRun, ran: msgspec.Struct | None) -> None:
        if isinstance(ran, HooksRan):
            self._runs.told(to, order, ran)
        else:
            # Some scripts may have run all the same.
            self._runs.missed(to)
