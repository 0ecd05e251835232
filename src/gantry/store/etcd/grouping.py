"""Which waiting transactions go into one request, and how that looks; pure.

A request is carried out as a whole, so all of its transactions get one revision. Its slot is
what tells whether it was: see ``writer``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from gantry.ports.store import (
    MAX_TRANSACTION_BYTES,
    Compare,
    Operation,
    Put,
)
from gantry.store.etcd import wire

MAX_ETCD_OPERATIONS: Final = 128
_OUR_COMPARES: Final = 2
_OUR_OPERATIONS: Final = 1


class Waiting:
    """A transaction that was not answered yet."""

    def __init__(self, compare: Sequence[Compare], ops: Sequence[Operation]) -> None:
        self.compare = tuple(compare)
        self.ops = tuple(ops)
        self.answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.alone = False
        """It was part of a request that failed."""

    @property
    def puts(self) -> bool:
        """Whether it surely changes something."""
        return any(isinstance(each, Put) for each in self.ops)

    @property
    def size(self) -> int:
        """Bytes of keys and values."""
        return sum(len(each.key) for each in self.compare) + sum(
            len(each.key) + (len(each.value) if isinstance(each, Put) else 0) for each in self.ops
        )


def group_size(waiting: Sequence[Waiting]) -> int:
    """How many of those in front go together; at least one.

    The order is kept: nobody joins who compares or changes what one before him changes.
    """
    compares: dict[str, int] = {}
    changed: set[str] = set()
    size = 0
    for number, each in enumerate(waiting):
        size += each.size
        mine = {one.key: one.mod_revision for one in each.compare}
        written = {one.key for one in each.ops}
        fits = (
            not each.alone
            and (each.puts or number > 0)
            and size <= MAX_TRANSACTION_BYTES
            and len(compares | mine) + _OUR_COMPARES <= MAX_ETCD_OPERATIONS
            and len(changed) + len(written) + _OUR_OPERATIONS <= MAX_ETCD_OPERATIONS
            and changed.isdisjoint(written)
            and changed.isdisjoint(mine)
            and len(mine) == len(each.compare)
            and all(compares.get(key, revision) == revision for key, revision in mine.items())
        )
        if not fits:
            return max(1, number)
        compares |= mine
        changed |= written
    return len(waiting)


class Place(NamedTuple):
    """Where a writer writes: the prefix of its keys, its slot, and the marker of a restore.

    ``guard`` is what the marker must be: absent, b"", but for who brings a copy back.
    """

    prefix: bytes
    slot: bytes
    marker: bytes
    guard: bytes = b""


def written(group: Iterable[Waiting], place: Place, former: bytes, name: bytes) -> wire.TxnRequest:
    """The request that carries them out and puts ``name`` into the slot, if it held ``former``.

    Where that cannot be, it reads the slot, the marker, and what was compared.
    """
    prefix, slot, marker, guard = place
    group = tuple(group)
    compare = _comparisons(group, prefix)
    changes = [_operation(each, prefix) for one in group for each in one.ops]
    return wire.TxnRequest(
        compare=(_holds(slot, former), _holds(marker, guard), *compare),
        success=(*changes, wire.Op(request_put=wire.PutRequest(slot, name))),
        failure=(_read(slot), _read(marker), *(_revision(each.key) for each in compare)),
    )


def looked_at(one: Waiting, prefix: bytes, slot: bytes) -> wire.TxnRequest:
    """The request that changes nothing: do the compares hold, is there anything to delete?"""
    compare = _comparisons([one], prefix)
    return wire.TxnRequest(
        compare=tuple(compare),
        # A transaction that reads nothing would be answered from what the member knows.
        success=(_count(slot), *(_count(prefix + each.key.encode()) for each in one.ops)),
        failure=(_count(slot), *(_revision(each.key) for each in compare)),
    )


def conflicting(
    compare: Sequence[Compare], prefix: bytes, found: Sequence[wire.RangeAnswer]
) -> list[str]:
    """Which keys are not at the revision that they were compared with; ``found`` is of them."""
    revisions = {kv.key: kv.mod_revision for each in found for kv in each.kvs}
    return [
        each.key
        for each in compare
        if revisions.get(prefix + each.key.encode(), 0) != each.mod_revision
    ]


def _comparisons(group: Iterable[Waiting], prefix: bytes) -> list[wire.Comparison]:
    seen = dict.fromkeys((each.key, each.mod_revision) for one in group for each in one.compare)
    return [wire.Comparison(prefix + key.encode(), "MOD", revision) for key, revision in seen]


def _holds(key: bytes, value: bytes) -> wire.Comparison:
    if not value:
        return wire.Comparison(key, "MOD", 0)
    return wire.Comparison(key, "VALUE", value=value)


def _operation(each: Operation, prefix: bytes) -> wire.Op:
    key = prefix + each.key.encode()
    if isinstance(each, Put):
        return wire.Op(request_put=wire.PutRequest(key, each.value, each.lease or 0))
    return wire.Op(request_delete_range=wire.DeleteRequest(key))


def _read(key: bytes) -> wire.Op:
    return wire.Op(request_range=wire.RangeRequest(key))


def _revision(key: bytes) -> wire.Op:
    return wire.Op(request_range=wire.RangeRequest(key, keys_only=True))


def _count(key: bytes) -> wire.Op:
    return wire.Op(request_range=wire.RangeRequest(key, count_only=True))
