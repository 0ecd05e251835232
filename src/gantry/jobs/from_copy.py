"""Making a copy of a dead master's state the state of a new one.

What happened after the copy was made is not known: so jobs that had not ended then are not gone
on with. They end as failed, nothing of theirs is undone, and no order that was owed is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from gantry.jobs import codec
from gantry.jobs.codec import Serial, StoredEpoch, StoredJob
from gantry.model.codec import encode as encode_entity
from gantry.model.entities import CLUSTER_KEY
from gantry.model.entities import key as entity_key
from gantry.model.errors import OperationFailed, Reason
from gantry.model.jobs import Job, JobStatus
from gantry.model.names import JobId, Uuid
from gantry.model.snapshot import Snapshot
from gantry.ports.store import MAX_OPERATIONS, Delete, Operation, Put, Store

_CHUNK: Final = MAX_OPERATIONS // 2


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What a copy knows of masters and jobs: the highest of each."""

    epoch: int
    job: int
    unfinished: tuple[JobId, ...]


async def known(store: Store) -> Known:
    """Read it."""
    kept = await store.get(codec.EPOCH)
    serial = await store.get(codec.SERIAL)
    jobs = await _jobs(store)
    highest = codec.decode(codec.SERIAL, serial.value, Serial).highest if serial else 0
    return Known(
        epoch=codec.decode(codec.EPOCH, kept.value, StoredEpoch).epoch if kept else 0,
        job=max([highest, *(stored.job.id for stored in jobs)]),
        unfinished=tuple(stored.job.id for stored in jobs if not stored.job.status.ended),
    )


async def take_over(
    store: Store, cluster: Snapshot, node: Uuid, *, epoch: int, job: int, now: float
) -> None:
    """``node`` is the master from ``epoch`` on, and jobs are numbered from ``job`` on.

    Nobody else uses the store.
    """
    before = cluster.cluster
    after = msgspec.structs.replace(
        before,
        master_node=node,
        failed_over_from=before.master_node if before.master_node != node else None,
        serial_no=before.serial_no + 1,
        mtime=now,
    )
    ops: list[Operation] = [
        Put(CLUSTER_KEY, encode_entity(after)),
        Put(codec.EPOCH, codec.encode(StoredEpoch(epoch=epoch, node=node))),
        Put(codec.SERIAL, codec.encode(Serial(highest=job))),
        *able(cluster, node),
    ]
    for stored in await _jobs(store):
        if not stored.job.status.ended:
            ended = msgspec.structs.replace(stored, job=_lost(stored.job, now))
            ops.append(Put(codec.job_key(stored.job.id), codec.encode(ended)))
    for prefix in (codec.JOURNAL, codec.DEBRIS):
        ops += [Delete(item.key) for item in (await store.range(prefix)).items]
    for chunk in _chunks(ops):
        await store.txn([], chunk)


def able(cluster: Snapshot, node: Uuid) -> list[Operation]:
    """What makes that node one that may be the master, where the copy says that it may not."""
    before = cluster.nodes[node]
    after = msgspec.structs.replace(before, master_candidate=True, offline=False, drained=False)
    return [Put(entity_key(after), encode_entity(after))] if after != before else []


async def raise_epoch(store: Store, node: Uuid, epoch: int) -> None:
    """The master on ``node`` that comes next has an epoch above that one."""
    await store.txn([], [Put(codec.EPOCH, codec.encode(StoredEpoch(epoch=epoch, node=node)))])


async def _jobs(store: Store) -> list[StoredJob]:
    items = (await store.range(codec.JOBS)).items
    return [codec.decode(item.key, item.value, StoredJob) for item in items]


def _lost(job: Job, now: float) -> Job:
    error = OperationFailed(
        "the master died, and the copy of its state that this cluster goes on with does not say "
        "what became of the job",
        "see gnt-cluster verify for what it may have left",
        reason=Reason.STATE,
    ).info()
    ops = tuple(
        record
        if record.status.ended
        else msgspec.structs.replace(record, status=JobStatus.ERROR, error=error, end=now)
        for record in job.ops
    )
    return msgspec.structs.replace(job, status=JobStatus.ERROR, ops=ops, ended=now, waiting_for=())


def _chunks(ops: Sequence[Operation]) -> list[Sequence[Operation]]:
    return [ops[start : start + _CHUNK] for start in range(0, len(ops), _CHUNK)]
