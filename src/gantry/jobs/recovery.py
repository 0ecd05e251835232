"""Reading everything back from the store when a master begins; runs nothing.

Jobs that were running are given back with what their journal says; those that waited or were
queued begin as if they had just come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from gantry.jobs import codec
from gantry.jobs.codec import (
    DebrisRecord,
    Direction,
    IntentRecord,
    PlanRecord,
    ResultRecord,
    Serial,
    StoredJob,
    TurnRecord,
)
from gantry.jobs.entry import Entry
from gantry.jobs.runner import Left
from gantry.jobs.steps import Recorded
from gantry.model.codec import decode as decode_entity
from gantry.model.entities import CLUSTER_KEY, PREFIXES, AnyEntity
from gantry.model.jobs import JobStatus
from gantry.model.names import JobId
from gantry.model.snapshot import Snapshot, build
from gantry.ports.store import Item, Store

MOST_AHEAD: Final = 1_000_000
"""Jobs that agents may have heard of and the state may not."""


class Kept(msgspec.Struct, kw_only=True):
    """All that the store holds. ``stale`` are journal keys of jobs that have ended.

    ``highest`` is the highest number of any job, ``archived`` that of those that were archived.
    """

    snapshot: Snapshot
    entries: dict[JobId, Entry]
    left: dict[JobId, Left]
    debris: dict[str, DebrisRecord]
    stale: list[str]
    highest: int
    archived: int


async def read(store: Store) -> Kept:
    """Everything; GantryError where something cannot be read, naming the key."""
    snapshot = await read_snapshot(store)
    entries = {}
    for item in (await store.range(codec.JOBS)).items:
        entry = _entry(item)
        entries[entry.id] = entry
    journal = _by_job((await store.range(codec.JOURNAL)).items)
    left, stale = {}, list[str]()
    for entry in entries.values():
        found = journal.pop(entry.job.uid, {})
        if not entry.job.status.ended:
            one = _left(entry, found, stale)
            if one is not None:
                left[entry.id] = one
        else:
            stale += found
    stale += [key for found in journal.values() for key in found]
    owed = (await store.range(codec.DEBRIS)).items
    debris = {
        item.key: codec.decode(item.key, item.value, DebrisRecord)
        for item in sorted(owed, key=lambda item: (item.mod_revision, item.key))
    }
    _share_debris(entries, left, debris)
    last = await store.get(codec.SERIAL)
    serial = codec.decode(codec.SERIAL, last.value, Serial).highest if last else 0
    return Kept(
        snapshot=snapshot,
        entries=entries,
        left=left,
        debris=debris,
        stale=stale,
        highest=max([serial, *entries]),
        archived=serial,
    )


async def read_snapshot(store: Store) -> Snapshot:
    """The cluster's entities alone."""
    entities: list[AnyEntity] = []
    item = await store.get(CLUSTER_KEY)
    revision = 0
    if item is not None:
        entities.append(decode_entity(CLUSTER_KEY, item.value))
    for prefix in PREFIXES.values():
        found = await store.range(prefix)
        revision = found.revision
        entities += [decode_entity(each.key, each.value) for each in found.items]
    return build(revision, entities)


def _entry(item: Item) -> Entry:
    stored = codec.decode(item.key, item.value, StoredJob)
    entry = Entry(stored.job, stored.within_job)
    entry.secret = stored.secret
    entry.revision = item.mod_revision
    if stored.job.status.ended:
        entry.log = None
        entry.end()
    entry.cancel_wanted = stored.job.status is JobStatus.CANCELING
    return entry


def _by_job(items: Sequence[Item]) -> dict[str, dict[str, Item]]:
    found: dict[str, dict[str, Item]] = {}
    for item in items:
        found.setdefault(item.key.split("/")[1], {})[item.key] = item
    return found


def _left(entry: Entry, found: dict[str, Item], stale: list[str]) -> Left | None:
    uid, op = entry.job.uid, entry.current
    mine = {key: item for key, item in found.items() if key.split("/")[2] == str(op)}
    stale += [key for key in found if key not in mine]
    plan = mine.get(codec.journal_key(uid, op, "plan"))
    if plan is None:
        stale += mine
        return None
    turn = mine.get(codec.journal_key(uid, op, "turn"))
    recorded = []
    for key in sorted(mine):
        if key.split("/")[3] != "e":
            continue
        number = int(key.rsplit("/", 1)[1])
        intent = codec.decode(key, mine[key].value, IntentRecord)
        if entry.log is not None:
            entry.log.restore(intent.log)
        result = mine.get(codec.result_key(uid, op, number))
        results = codec.decode(result.key, result.value, ResultRecord).results if result else None
        recorded.append(Recorded(number, intent.effects, results))
    return Left(
        plan=codec.decode(plan.key, plan.value, PlanRecord),
        turn=codec.decode(turn.key, turn.value, TurnRecord) if turn else None,
        recorded=recorded,
    )


def _share_debris(
    entries: dict[JobId, Entry], left: dict[JobId, Left], debris: dict[str, DebrisRecord]
) -> None:
    """What a final commit made due belongs to its job until that has ended."""
    for job, one in left.items():
        if one.turn is not None and one.turn.direction is Direction.FINISHING:
            prefix = codec.debris_key(entries[job].job.uid, entries[job].current, 0)[:-5]
            for key in [key for key in debris if key.startswith(prefix)]:
                one.debris[key] = debris.pop(key)


def highest(known: int, heard: Iterable[int]) -> int:
    """The highest number of any job: of those that the state knows, and that agents have heard of.

    A state that was restored from an older copy does not know all jobs that there were. An agent
    that says more than ``MOST_AHEAD`` is not believed.
    """
    return max([known, *(job for job in heard if job <= known + MOST_AHEAD)])
