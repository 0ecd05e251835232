"""Standing for the mastership: with a state that only this node has, or after an election."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from gantry.agent.succession import set_aside
from gantry.jobs import codec
from gantry.jobs.codec import Holder, StoredEpoch
from gantry.jobs.election import (
    Mastership,
    Replaced,
    ask_all,
    credible,
    proclaim,
    replaced_by,
    win,
)
from gantry.jobs.queue import Engine
from gantry.main.bell import BeginAnew
from gantry.main.bootstrap import node_uuid
from gantry.main.elected import Elected
from gantry.main.store import STATE
from gantry.model import timeouts
from gantry.model.codec import encode
from gantry.model.entities import CLUSTER_KEY, Cluster
from gantry.model.jobs import Submission
from gantry.model.master_orders import MasterSeen
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.ports.agents import Address, Agents
from gantry.ports.clock import Clock
from gantry.ports.store import Compare, Put, Store
from gantry.supervision.supervisor import addresses

logger = logging.getLogger("gantry.master")


_TAKEOVER: Final = "OP_MASTER_TAKEOVER"
PATIENCE: Final = 1.5
"""Seconds for a node to answer a new master. One that does not is told when it is back, before
anything is ordered there, so nothing is gained by waiting for the dead."""
MOST_WAIT: Final = 60.0
"""Seconds for which a master whose state is in a file waits for half of the nodes."""


async def mastership(
    root: Path,
    store: Store,
    agents: Agents,
    clock: Clock,
    before: Snapshot,
    elected: Elected | None,
) -> Mastership:
    """This node's, with an epoch that all agents that answer have been told.

    Where the state is a file, and agents know of a master elsewhere that came after it, the
    file is set aside: BeginAnew.
    """
    nodes = list(addresses(before))
    here = node_uuid(root)
    if elected is not None:
        result = await proclaim(store, agents, clock, elected.won, nodes, PATIENCE)
        await _write_master(store, result, before)
        return result
    try:
        others = any(one.master_candidate for one in before.nodes.values() if one.uuid != here)
        most = MOST_WAIT if others else 0.0
        return await _alone(store, agents, clock, here, nodes, most)
    except Replaced as later:
        name = before.nodes[later.node].name if later.node in before.nodes else later.node
        aside = set_aside(root / STATE, "replaced")
        logger.error(
            "node %s has been master since, with epoch %d: see %s", name, later.epoch, aside
        )
        raise BeginAnew from None


async def _alone(
    store: Store,
    agents: Agents,
    clock: Clock,
    here: Uuid,
    nodes: Sequence[Address],
    most: float,
) -> Mastership:
    """With a state that only this node has; Replaced where a later one is elsewhere."""
    knew = await _epoch(store)
    seen = await heard(agents, clock, nodes, most)
    newer = replaced_by(here, knew, seen)
    if newer is not None:
        raise Replaced(*newer)
    known = (each.epoch for each in seen.values() if credible(knew, each.epoch))
    above = max(known, default=0)
    won = await win(store, clock, here, above=above)
    return await proclaim(store, agents, clock, won, nodes, PATIENCE, knew)


async def heard(
    agents: Agents, clock: Clock, nodes: Sequence[Address], most: float
) -> dict[Uuid, MasterSeen]:
    """What nodes know of masters; fewer than half of them count only after ``most`` seconds.

    After a power cut the machine of an old master may be back before those that know a later one.
    """
    end, told = clock.monotonic() + most, False
    while True:
        seen = await ask_all(agents, nodes, PATIENCE)
        if 2 * len(seen) >= len(nodes) or clock.monotonic() >= end:
            return seen
        if not told:
            told = True
            logger.warning(
                "only %d of %d nodes answer; the others may know a later master, and are waited "
                "for, %g seconds at most",
                len(seen),
                len(nodes),
                most,
            )
        await clock.sleep(timeouts.RECONNECT)


async def tell(engine: Engine) -> None:
    """Scripts of a site hear that the master is another one, by a job; nobody can deny it."""
    running = (
        record.input["OP_ID"] for job in engine.jobs() if not job.status.ended for record in job.ops
    )
    if engine.snapshot().cluster.failed_over_from is None or _TAKEOVER in running:
        return
    await engine.submit(
        Submission(
            ops=({"OP_ID": _TAKEOVER},),
            request_id=secrets.token_hex(32),
            requester="gnt:master",
        ),
        internal=True,
    )


async def _epoch(store: Store) -> int:
    """The highest that this state knows."""
    kept, held = await store.get(codec.EPOCH), await store.get(codec.ELECTION)
    epoch = codec.decode(codec.EPOCH, kept.value, StoredEpoch).epoch if kept else 0
    if held is not None:
        epoch = max(epoch, codec.decode(codec.ELECTION, held.value, Holder).epoch)
    return epoch


async def _write_master(store: Store, won: Mastership, before: Snapshot) -> None:
    """The cluster's master is this node; where it was another, scripts are to be told."""
    cluster = before.cluster
    if cluster.master_node == won.node:
        return
    item = await store.get(CLUSTER_KEY)
    assert item is not None
    await store.txn(
        [Compare(codec.ELECTION, won.revision), Compare(CLUSTER_KEY, item.mod_revision)],
        [Put(CLUSTER_KEY, encode(taken_over(cluster, won.node)))],
    )


def taken_over(cluster: Cluster, node: Uuid) -> Cluster:
    """With ``node`` as its master, and with whom scripts are told that it follows.

    That is the last one that they know, unless it is ``node`` itself: then the one in between.
    """
    known = cluster.failed_over_from
    return msgspec.structs.replace(
        cluster,
        master_node=node,
        failed_over_from=cluster.master_node if known in (None, node) else known,
        serial_no=cluster.serial_no + 1,
    )
