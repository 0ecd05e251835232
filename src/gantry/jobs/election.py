"""Becoming master: a number that no agent has seen before, and the key that all writes compare.

The store's exclusive lock (SQLite) or a lease (etcd) decides who may; here is only what
follows from it. No job runs before the epoch was announced to every node that answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from gantry.jobs import codec
from gantry.jobs.codec import Holder
from gantry.model import timeouts
from gantry.model.errors import GantryError, Superseded
from gantry.model.names import Uuid
from gantry.ports.agents import Address, Agents, Announced
from gantry.ports.clock import Clock
from gantry.ports.store import Compare, LeaseId, Put, Store


def always() -> float:
    """The lease of a master whose store lets nobody else in."""
    return timeouts.MASTER_LEASE


class Mastership(msgspec.Struct, frozen=True, kw_only=True):
    """What makes this process the master.

    ``revision`` is the election key's; ``lease_left`` says for how many seconds from now no
    other master can exist; ``announced`` is what the nodes that answered said.
    """

    epoch: int
    revision: int
    lease_left: Callable[[], float]
    announced: dict[Uuid, Announced]


async def stand(
    store: Store,
    agents: Agents,
    clock: Clock,
    node: Uuid,
    nodes: Sequence[Address],
    *,
    lease: LeaseId | None = None,
    lease_left: Callable[[], float] = always,
) -> Mastership:
    """Take the mastership for ``node`` with an epoch above all that store and agents know.

    ``nodes`` are those to ask (not the ones marked offline). Raises Conflict where another
    process was faster.
    """
    item = await store.get(codec.ELECTION)
    revision = item.mod_revision if item else 0
    epoch = codec.decode(codec.ELECTION, item.value, Holder).epoch if item else 0
    step = 1
    while True:
        epoch += step
        holder = Holder(epoch=epoch, node=node, since=clock.now())
        put = Put(codec.ELECTION, codec.encode(holder), lease)
        revision = await store.txn([Compare(codec.ELECTION, revision)], [put])
        announced = await _announce(agents, nodes, epoch)
        if announced is not None:
            return Mastership(
                epoch=epoch, revision=revision, lease_left=lease_left, announced=announced
            )
        # After a restore the store may be far behind; a refusal does not say how far.
        step *= 2


async def _announce(
    agents: Agents, nodes: Sequence[Address], epoch: int
) -> dict[Uuid, Announced] | None:
    """What the nodes that answer say; None where one of them has seen a higher epoch."""

    async def tell(to: Address) -> Announced | Superseded | None:
        try:
            async with asyncio.timeout(timeouts.CONNECT):
                return await agents.announce(to, epoch)
        except Superseded as error:
            return error
        except (GantryError, TimeoutError):
            return None

    answers = dict(
        zip((to.node for to in nodes), await asyncio.gather(*map(tell, nodes)), strict=True)
    )
    if any(isinstance(each, Superseded) for each in answers.values()):
        return None
    found = {node: each for node, each in answers.items() if isinstance(each, Announced)}
    return None if any(each.epoch > epoch for each in found.values()) else found
