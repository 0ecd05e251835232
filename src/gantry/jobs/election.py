"""Becoming master: a number that no agent has seen before, and the key that all writes compare.

Where the store lets one process in at a time (SQLite), who opens it may; elsewhere (etcd) the
election key is put with a lease, only where it is not there, and vanishes with it. The epoch has
a key of its own, which stays. No job runs before the epoch was announced to every node that
answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from gantry.jobs import codec
from gantry.jobs.codec import Holder, StoredEpoch
from gantry.jobs.lease import LeaseKeeper
from gantry.model import timeouts
from gantry.model.errors import GantryError, Superseded
from gantry.model.master_orders import MasterSeen, ReadMaster
from gantry.model.names import Uuid
from gantry.ports.agents import Address, Agents, Announced
from gantry.ports.clock import Clock
from gantry.ports.store import Compare, Conflict, Put, Store

T = TypeVar("T")
logger = logging.getLogger(__name__)

LEAP: Final = 1_000_000
"""Added to the epoch of a master that was made out of a copy: one that comes back later, and
has not heard of it, does not catch up by starting again and again."""

CREDIBLE: Final = 1000 * LEAP
"""By so much an agent may have heard of a higher epoch than the store knows."""
REFUSALS: Final = 3
"""Times that a node may refuse an epoch above all that it said before."""


def always() -> float:
    """The lease of a master whose store lets nobody else in."""
    return timeouts.MASTER_LEASE


class Replaced(Exception):
    """A master on ``node`` came after the state that is here, with ``epoch``."""

    def __init__(self, epoch: int, node: Uuid) -> None:
        super().__init__(f"node {node} has been master since, with epoch {epoch}")
        self.epoch = epoch
        self.node = node


class Won(msgspec.Struct, frozen=True, kw_only=True):
    """The election key is ours at ``revision``; no agent knows it yet."""

    node: Uuid
    epoch: int
    revision: int
    keeper: LeaseKeeper | None = None


class Mastership(msgspec.Struct, frozen=True, kw_only=True):
    """What makes this process the master, on ``node``.

    ``revision`` is the election key's; ``lease_left`` says for how many seconds from now no
    other master can exist; ``announced`` is what the nodes that answered said; where this one
    was ``elected``, another one takes over by itself.
    """

    node: Uuid
    epoch: int
    revision: int
    lease_left: Callable[[], float]
    announced: dict[Uuid, Announced]
    elected: bool = False


async def stand(
    store: Store,
    agents: Agents,
    clock: Clock,
    node: Uuid,
    nodes: Sequence[Address],
    *,
    keeper: LeaseKeeper | None = None,
) -> Mastership:
    """Take the mastership for ``node`` with an epoch above all that store and agents know.

    ``nodes`` are those to ask (not the ones marked offline). Raises Conflict where another
    process was faster.
    """
    return await proclaim(store, agents, clock, await win(store, clock, node, keeper), nodes)


async def win(
    store: Store, clock: Clock, node: Uuid, keeper: LeaseKeeper | None = None, above: int = 0
) -> Won:
    """Put the election key, with an epoch higher than any that the store knows, and ``above``.

    With a lease only where the key is not there, or is of an earlier process of ``node`` itself
    (of which the caller knows that it has ended). Raises Conflict where it is another's.
    """
    item, kept = await store.get(codec.ELECTION), await store.get(codec.EPOCH)
    epoch = above
    if kept is not None:
        epoch = max(epoch, codec.decode(codec.EPOCH, kept.value, StoredEpoch).epoch)
    if item is not None:
        holder = codec.decode(codec.ELECTION, item.value, Holder)
        if keeper is not None and holder.node != node:
            raise Conflict([codec.ELECTION])
        epoch = max(epoch, holder.epoch)
    compare = [
        Compare(codec.ELECTION, item.mod_revision if item else 0),
        Compare(codec.EPOCH, kept.mod_revision if kept else 0),
    ]
    return await _put(store, clock, compare, node, epoch + 1, keeper)


async def proclaim(
    store: Store,
    agents: Agents,
    clock: Clock,
    won: Won,
    nodes: Sequence[Address],
    patience: float = timeouts.CONNECT,
    knew: int | None = None,
) -> Mastership:
    """Announce the epoch to all ``nodes`` that answer within ``patience`` seconds.

    It is raised where one of them has seen a higher one, as after a restore of the store; one that
    cannot have seen what it says is passed over. For a state that only this node has, ``knew``
    is the epoch that it knew before: Replaced where one that was asked in vain until now has
    seen a master elsewhere since then.
    """
    times: Counter[Uuid] = Counter()
    first = won.epoch
    while True:
        announced, refusing = await _announce(agents, nodes, won.epoch, patience)
        if not refusing:
            keeper = won.keeper
            return Mastership(
                node=won.node,
                epoch=won.epoch,
                revision=won.revision,
                lease_left=keeper.left if keeper else always,
                announced=announced,
                elected=keeper is not None,
            )
        seen = await ask_all(agents, nodes, patience)
        newer = None if knew is None else replaced_by(won.node, knew, seen)
        if newer is not None:
            raise Replaced(*newer)
        times.update(refusing)
        nodes = [to for to in nodes if _credible(to, first, seen, times)]
        heard = [seen[to.node].epoch for to in nodes if to.node in seen]
        epoch = max([won.epoch, *heard]) + 1
        compare = [Compare(codec.ELECTION, won.revision)]
        won = await _put(store, clock, compare, won.node, epoch, won.keeper)


def credible(epoch: int, seen: int) -> bool:
    """Whether an agent can have seen that one, where the store knows ``epoch``."""
    return seen <= epoch + CREDIBLE


def _credible(
    to: Address, epoch: int, seen: Mapping[Uuid, MasterSeen], times: Mapping[Uuid, int]
) -> bool:
    found = seen.get(to.node)
    if times.get(to.node, 0) < REFUSALS and (found is None or credible(epoch, found.epoch)):
        return True
    logger.error(
        "node %s is passed over: it has refused %d times, and says that it knows epoch %s",
        to.name,
        times.get(to.node, 0),
        "?" if found is None else found.epoch,
    )
    return False


async def ask_all(
    agents: Agents, nodes: Sequence[Address], patience: float = timeouts.CONNECT
) -> dict[Uuid, MasterSeen]:
    """What the nodes that answer within ``patience`` seconds know of masters."""

    def ask(to: Address) -> Awaitable[MasterSeen]:
        return agents.ask(to, ReadMaster(), patience)

    return await _all(nodes, ask, patience)


def replaced_by(node: Uuid, epoch: int, seen: dict[Uuid, MasterSeen]) -> tuple[int, Uuid] | None:
    """The epoch and node of a master that came after that of ``epoch`` on ``node``, or None.

    For a store that only this node has: what agents know then is the later word.
    """
    others = [
        (each.epoch, each.node)
        for each in seen.values()
        if each.node is not None and each.node != node and each.epoch > epoch
    ]
    return max(others, default=None)


async def _put(
    store: Store,
    clock: Clock,
    compare: Sequence[Compare],
    node: Uuid,
    epoch: int,
    keeper: LeaseKeeper | None,
) -> Won:
    holder = Holder(epoch=epoch, node=node, since=clock.now())
    stored = StoredEpoch(epoch=epoch, node=node)
    puts = [
        Put(codec.ELECTION, codec.encode(holder), keeper.id if keeper else None),
        Put(codec.EPOCH, codec.encode(stored)),
    ]
    revision = await store.txn(compare, puts)
    return Won(node=node, epoch=epoch, revision=revision, keeper=keeper)


async def _announce(
    agents: Agents, nodes: Sequence[Address], epoch: int, patience: float
) -> tuple[dict[Uuid, Announced], set[Uuid]]:
    """What the nodes that answer say, and those that have seen a higher epoch."""
    refusing: set[Uuid] = set()

    async def tell(to: Address) -> Announced:
        try:
            return await agents.announce(to, epoch)
        except Superseded:
            refusing.add(to.node)
            raise

    return await _all(nodes, tell, patience), refusing


async def _all(
    nodes: Sequence[Address], call: Callable[[Address], Awaitable[T]], patience: float
) -> dict[Uuid, T]:
    """The answers of those nodes that gave one in time."""

    async def one(to: Address) -> T | None:
        try:
            async with asyncio.timeout(patience):
                return await call(to)
        except (GantryError, TimeoutError):
            return None

    answers = await asyncio.gather(*map(one, nodes))
    return {
        to.node: answer for to, answer in zip(nodes, answers, strict=True) if answer is not None
    }
