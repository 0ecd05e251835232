"""A state that was brought back into a file is this node's: its master is here from now on.

The copy may have been made on another node, or before another node was the master. Without this
the state would be given to the node that it names, or set aside for what the agents remember.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from gantry.agent import configuration as agent_configuration
from gantry.client.connection import Connection
from gantry.client.errors import ApiError, ClientError
from gantry.jobs import codec, from_copy
from gantry.jobs.codec import StoredEpoch
from gantry.jobs.election import LEAP, ask_all
from gantry.jobs.recovery import read_snapshot
from gantry.main import store as stores
from gantry.main.credentials import files_of
from gantry.model.codec import decode, encode
from gantry.model.entities import CLUSTER_KEY, PREFIXES, Node
from gantry.model.errors import GantryError, Reason, Rejected
from gantry.model.master_orders import MasterSeen
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.pki import files as certificates
from gantry.ports.store import Operation, Put
from gantry.rpc.client import HttpAgents
from gantry.store.exchange import read_items
from gantry.store.sqlite import open_sqlite
from gantry.supervision.supervisor import addresses

AGENT = "etc/gantry/agent.json"


def check(root: Path, copy: Path) -> None:
    """Rejected where the copy does not know this node, or while a master answers anywhere.

    A claim would end that one. Raises BackupDamaged.
    """
    here = agent_configuration.read(root).node
    nodes = [
        decode(item.key, item.value)
        for item in read_items(copy)
        if item.key.startswith(PREFIXES[Node])
    ]
    if here not in {node.uuid for node in nodes if isinstance(node, Node)}:
        raise Rejected(
            f"the copy {copy} does not know this node",
            "bring it back on a node of its cluster: "
            + ", ".join(sorted(node.name for node in nodes if isinstance(node, Node))),
            reason=Reason.STATE,
        )
    connection = Connection(str(root), patient=False)
    try:
        connection.get("info")
    except (ApiError, ClientError):
        return
    where = connection.peer.name if connection.peer else "this node"
    raise Rejected(
        f"the master runs, on {where}: a copy is brought back only while there is none",
        "stop it first, there: systemctl stop gantry-master; or move it: "
        "gnt-cluster master-failover",
        reason=Reason.STATE,
    )


async def claim(root: Path, now: float) -> str | None:
    """Make this node the master of the state that lies here; the name of who was, if another.

    Its epoch is above all that the copy and the agents that answer know.
    """
    here = agent_configuration.read(root).node
    store = await open_sqlite(root / stores.STATE, create=False)
    try:
        cluster, known = await read_snapshot(store), await from_copy.known(store)
        seen = await _seen(root, cluster, here)
        epoch = max([known.epoch, *(each.epoch for each in seen.values())]) + LEAP
        ops: list[Operation] = [Put(codec.EPOCH, codec.encode(StoredEpoch(epoch=epoch, node=here)))]
        before = cluster.cluster
        if before.master_node != here:
            after = msgspec.structs.replace(
                before,
                master_node=here,
                failed_over_from=before.master_node,
                serial_no=before.serial_no + 1,
                mtime=now,
            )
            ops += [Put(CLUSTER_KEY, encode(after)), *from_copy.able(cluster, here)]
        await store.txn([], ops)
    finally:
        await store.close()
    return cluster.master.name if before.master_node != here else None


async def _seen(root: Path, cluster: Snapshot, here: Uuid) -> dict[Uuid, MasterSeen]:
    try:
        agents = HttpAgents(files_of(root, certificates.MASTER), cluster.cluster.uuid, here)
    except GantryError:
        # Without a master's certificate nobody can be asked; the copy's epoch is all there is.
        return {}
    try:
        return await ask_all(agents, list(addresses(cluster)))
    finally:
        await agents.close()
