"""A hand-over that came to nothing: the old master stands again, and the job has failed."""

from __future__ import annotations

import msgspec

from gantry.jobs import codec, limits
from gantry.jobs.codec import Direction, StoredJob, TurnRecord
from gantry.model.codec import encode as encode_entity
from gantry.model.entities import CLUSTER_KEY
from gantry.model.errors import GantryError
from gantry.model.names import Uuid
from gantry.model.snapshot import Snapshot
from gantry.ports.store import Compare, Operation, Put, Store

OPCODE = "OP_MASTER_FAILOVER"


async def take_back(store: Store, cluster: Snapshot, node: Uuid, why: GantryError) -> None:
    """``node`` is the master again; the job that had made it another's is to be undone.

    The next master, which is the one on ``node``, ends that job with the error ``why``.
    """
    item = await store.get(CLUSTER_KEY)
    assert item is not None
    before = cluster.cluster
    after = msgspec.structs.replace(before, master_node=node, serial_no=before.serial_no + 1)
    ops: list[Operation] = [Put(CLUSTER_KEY, encode_entity(after))]
    for key in await _turns(store):
        turn = TurnRecord(direction=Direction.UNWINDING, error=limits.error(why.info()))
        ops.append(Put(key, codec.encode(turn)))
    await store.txn([Compare(CLUSTER_KEY, item.mod_revision)], ops)


async def _turns(store: Store) -> list[str]:
    """Where the journal says that a hand-over has been committed and not followed up yet."""
    found = []
    for item in (await store.range(codec.JOBS)).items:
        job = codec.decode(item.key, item.value, StoredJob).job
        if job.status.ended:
            continue
        for number, record in enumerate(job.ops):
            key = codec.journal_key(job.uid, number, "turn")
            if record.input.get("OP_ID") == OPCODE and await store.get(key) is not None:
                found.append(key)
    return found
