"""Giving the mastership away where the state is a file: the closed file goes to the new node.

The state says already that the other node is the master. Until that node has it for certain, or
has refused it for certain, nobody is master: this process goes on asking, also after a crash,
which finds the same file. The operator can end that: ``gnt-cluster master-failover --from-copy``
here takes the state back.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

import msgspec

from gantry.agent.succession import set_aside
from gantry.jobs import codec
from gantry.jobs.codec import StoredEpoch
from gantry.jobs.election import always, ask_all, replaced_by
from gantry.jobs.handback import take_back
from gantry.jobs.recovery import read_snapshot
from gantry.main.copies import Copy, Sender, prepare
from gantry.main.store import STATE
from gantry.model import timeouts
from gantry.model.errors import GantryError, OperationFailed, Superseded, Unavailable
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.ports.agents import Address, Agents
from gantry.ports.clock import Clock
from gantry.ports.store import Store, StoreLocked
from gantry.store.sqlite import open_sqlite
from gantry.supervision.supervisor import addresses

logger = logging.getLogger("gantry.master")

_FAILURES: Final = 3
"""Times that the target may fail to keep the copy, before it is another's business."""


class Due(msgspec.Struct, frozen=True):
    """A state that is to be given to ``target``."""

    cluster: Snapshot
    target: Address
    epoch: int


async def give(root: Path, here: Uuid, agents: Agents, clock: Clock) -> None:
    """Give the state away, or take it back where that was refused. No other process uses it.

    When it returns the node's files say what is to be done next.
    """
    due = await _due(root)
    if due.target.node == here:
        return
    name = f"handover-{due.epoch}-{due.cluster.revision}"
    copy = await asyncio.to_thread(prepare, root, name, clock.now())
    sender = Sender(agents, clock, due.epoch, always)
    try:
        await _insist(root, here, agents, sender, due, copy)
    finally:
        copy.remove()


async def _insist(
    root: Path, here: Uuid, agents: Agents, sender: Sender, due: Due, copy: Copy
) -> None:
    told, failures = "", 0
    while True:
        problem = await _try(sender, due, copy)
        if problem is None or isinstance(problem, Superseded):
            _given(root, due, "it has the state")
            return
        failures += isinstance(problem, OperationFailed)
        if not isinstance(problem, Unavailable | OperationFailed) or failures == _FAILURES:
            await _back(root, here, problem)
            return
        if problem.message != told:
            told = problem.message
            logger.warning("cannot give the state to node %s: %s", due.target.name, problem)
        await asyncio.sleep(timeouts.RECONNECT)
        if await _taken_back(root, here):
            logger.warning("the operator has taken the state back")
            return
        others = list(addresses(due.cluster))
        if replaced_by(here, due.epoch, await ask_all(agents, others, timeouts.RECONNECT)):
            _given(root, due, "agents know a newer master")
            return


async def _taken_back(root: Path, here: Uuid) -> bool:
    return (await _due(root)).target.node == here


async def _try(sender: Sender, due: Due, copy: Copy) -> GantryError | None:
    try:
        await sender.send(due.target, copy, take_over=True)
    except GantryError as error:
        return error
    return None


def _given(root: Path, due: Due, why: str) -> None:
    aside = set_aside(root / STATE, "handed-over")
    logger.info("node %s is the master: %s; the old state is %s", due.target.name, why, aside)


async def _opened(root: Path) -> Store:
    while True:
        try:
            return await open_sqlite(root / STATE, create=False)
        except StoreLocked:
            # The operator is at it.
            await asyncio.sleep(timeouts.RECONNECT)


async def _due(root: Path) -> Due:
    store = await _opened(root)
    try:
        cluster = await read_snapshot(store)
        item = await store.get(codec.EPOCH)
    finally:
        await store.close()
    epoch = codec.decode(codec.EPOCH, item.value, StoredEpoch).epoch if item else 0
    master = cluster.master
    target = Address(master.uuid, master.name, master.primary_ip, master.port)
    return Due(cluster, target, epoch)


async def _back(root: Path, here: Uuid, error: GantryError) -> None:
    """The target will not have it: this node is the master again."""
    logger.error("the state is not given away: %s", error)
    store = await _opened(root)
    try:
        await take_back(store, await read_snapshot(store), here, error)
    finally:
        await store.close()
