"""Waiting for the mastership where many nodes have the store, and standing when it is free.

The node that the configuration names as the master stands at once, the other candidates after a
pause by their place among them. Only the store is loaded until the election is won: the rest of
the master comes when the lease is being kept already.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from pathlib import Path
from typing import Final

from gantry.agent import configuration as agent_configuration
from gantry.host.clock import SystemClock
from gantry.jobs import codec
from gantry.jobs.codec import Holder
from gantry.jobs.election import win
from gantry.jobs.lease import LeaseKeeper
from gantry.main.beginning_anew import begin_anew
from gantry.main.bell import MASTER_SOCKET, Bell
from gantry.main.daemon import say_ready
from gantry.main.elected import Elected
from gantry.main.store import open_store
from gantry.model import timeouts
from gantry.model.codec import decode
from gantry.model.entities import CLUSTER_KEY, PREFIXES, Cluster, Node
from gantry.model.errors import GantryError, Reason, Rejected
from gantry.model.names import Uuid
from gantry.ports.store import Conflict, Store

logger = logging.getLogger("gantry.master")

PLACE: Final = 0.1
"""Seconds for which a candidate lets each one before it go first."""


def run(root: Path, ready: int | None) -> int:
    """As ``contest``; the exit status."""
    return asyncio.run(contest(root, ready))


async def contest(root: Path, ready: int | None) -> int:
    """Until this node has won and been the master, or the process is told to end."""
    ended, rung = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    # A socket that a killed master left would be asked in vain.
    (root / MASTER_SOCKET).unlink(missing_ok=True)
    bell = Bell(root)
    standing = _Contest(root, ready)
    loop.add_reader(bell.socket, rung.set)
    try:
        waiting = loop.create_task(standing.win())
        others = [loop.create_task(each.wait()) for each in (ended, rung)]
        await asyncio.wait([waiting, *others], return_when=asyncio.FIRST_COMPLETED)
        for each in others:
            each.cancel()
        won = waiting.done() and not rung.is_set()
        if not won:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
    finally:
        loop.remove_reader(bell.socket)
        bell.close()
    if ended.is_set() and not won:
        return 0
    if not won:
        # The node's files have changed: what this process has to be is looked at anew.
        await begin_anew(ended, standing.ready)
    elected, ready = waiting.result()
    # All the rest of the master: only now, and while the lease is being kept.
    from gantry.main.master import serve

    # With the same event: who was told to end just now must not forget it.
    return await serve(root, ready, elected, ended)


class _Contest:
    def __init__(self, root: Path, ready: int | None) -> None:
        self._root = root
        self.ready = ready
        self._here = agent_configuration.read(root).node
        self._clock = SystemClock()
        self._told = ""

    async def win(self) -> tuple[Elected, int | None]:
        """What was won, and whom to tell that the master serves, if that is still to be told."""
        while True:
            try:
                store = await open_store(self._root, writer=self._here)
            except GantryError as error:
                self._say(f"the store cannot be opened: {error}")
                self._waits()
                await asyncio.sleep(timeouts.RECONNECT)
                continue
            try:
                elected = await self._stand(store)
            except GantryError as error:
                self._say(f"the store does not answer: {error}")
                await store.close()
                self._waits()
                await asyncio.sleep(timeouts.RECONNECT)
                continue
            except BaseException:
                await store.close()
                raise
            return elected, self.ready

    async def _stand(self, store: Store) -> Elected:
        """Wait until nobody is master, and be it."""
        while True:
            pause = await self._until_free(store)
            cluster = await _cluster(store)
            if pause is None:
                # The node may become a candidate: then the configuration changes.
                await _change(store, PREFIXES[Node])
                continue
            await asyncio.sleep(pause)
            with contextlib.suppress(Conflict):
                return await self._win(store, cluster.master_lease)

    async def _win(self, store: Store, seconds: float) -> Elected:
        keeper = await LeaseKeeper.grant(store, seconds, self._clock)
        try:
            won = await win(store, self._clock, self._here, keeper)
        except Conflict:
            await keeper.give_up()
            raise
        logger.info("elected epoch=%d", won.epoch)
        keeping = asyncio.get_running_loop().create_task(keeper.keep(), name="lease")
        return Elected(store, won, keeping)

    async def _until_free(self, store: Store) -> float | None:
        """When the election key is free, or of an earlier process here: how long to wait first.

        None where this node may not be the master now.
        """
        while True:
            found = await store.range(codec.ELECTION)
            item = next((each for each in found.items if each.key == codec.ELECTION), None)
            holder = codec.decode(item.key, item.value, Holder) if item else None
            if holder is None or holder.node == self._here:
                return await self._pause(store)
            self._say(f"node {holder.node} is the master, epoch {holder.epoch}")
            self._waits()
            await _change(store, codec.ELECTION, found.revision)

    async def _pause(self, store: Store) -> float | None:
        cluster = await _cluster(store)
        nodes = await _nodes(store)
        here = nodes.get(self._here)
        if here is None or not _may(here):
            self._say("this node may not be the master: it is no candidate, offline or drained")
            self._waits()
            return None
        if cluster.master_node == self._here:
            return 0.0
        order = sorted(uuid for uuid, node in nodes.items() if _may(node))
        return PLACE * (1 + order.index(self._here))

    def _waits(self) -> None:
        """Whoever started this process need not wait for more."""
        say_ready(self.ready)
        self.ready = None

    def _say(self, text: str) -> None:
        if text != self._told:
            self._told = text
            logger.info("waiting state=standby: %s", text)


def _may(node: Node) -> bool:
    return node.master_candidate and not node.offline and not node.drained


async def _cluster(store: Store) -> Cluster:
    item = await store.get(CLUSTER_KEY)
    cluster = decode(CLUSTER_KEY, item.value) if item is not None else None
    if not isinstance(cluster, Cluster) or cluster.destroyed:
        raise Rejected("the store has no cluster, or one that was destroyed", reason=Reason.STATE)
    return cluster


async def _nodes(store: Store) -> dict[Uuid, Node]:
    found = [decode(item.key, item.value) for item in (await store.range(PREFIXES[Node])).items]
    return {node.uuid: node for node in found if isinstance(node, Node)}


async def _change(store: Store, prefix: str, after: int | None = None) -> None:
    """Until something below ``prefix`` changes."""
    if after is None:
        after = (await store.range(prefix)).revision
    async with contextlib.aclosing(store.watch(prefix, after)) as watch:
        async for _ in watch:
            return
