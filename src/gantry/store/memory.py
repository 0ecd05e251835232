"""The Store in a dictionary, for tests; it forgets everything and serves one process."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Sequence

from gantry.ports.store import (
    Compacted,
    Compare,
    Conflict,
    Delete,
    Event,
    Item,
    LeaseGone,
    LeaseId,
    Operation,
    Put,
    Range,
    StoreUnavailable,
)
from gantry.store.changes import Changes
from gantry.store.leases import LeaseClocks, TimedLease
from gantry.store.limits import check_transaction


class MemoryStore:
    """All of the Store port but durability; make it inside a running event loop."""

    def __init__(self) -> None:
        self.commits = 0
        self.flushes = 0
        self._items: dict[str, Item] = {}
        self._held: dict[LeaseId, set[str]] = {}
        self._history: list[tuple[Event, ...]] = []
        self._revision = 0
        self._compacted = 0
        self._changes = Changes()
        self._clocks = LeaseClocks(self._end_lease)
        self._lease_ids = itertools.count(1)

    async def get(self, key: str) -> Item | None:
        """The item, or None."""
        self._check_open()
        return self._items.get(key)

    async def range(self, prefix: str) -> Range:
        """All items whose keys start with ``prefix``, sorted."""
        self._check_open()
        keys = sorted(key for key in self._items if key.startswith(prefix))
        return Range(self._revision, tuple(self._items[key] for key in keys))

    async def txn(self, compare: Sequence[Compare], ops: Sequence[Operation]) -> int:
        """Apply ``ops`` if every compare holds; raises Conflict, LimitExceeded, LeaseGone."""
        self._check_open()
        check_transaction(compare, ops)
        conflicts = [each.key for each in compare if self._modified(each.key) != each.mod_revision]
        if conflicts:
            raise Conflict(conflicts)
        for operation in ops:
            lease = operation.lease if isinstance(operation, Put) else None
            if lease is not None and lease not in self._held:
                raise LeaseGone(lease)
        self._apply(ops)
        self.commits += 1
        self.flushes += 1
        return self._revision

    async def watch(self, prefix: str, after: int) -> AsyncGenerator[tuple[Event, ...], None]:
        """Every change below ``prefix`` after revision ``after``, a transaction at a time."""
        while True:
            bell = self._changes.next_ring()
            self._check_open()
            if after < self._compacted:
                raise Compacted(self._compacted)
            while after < self._revision:
                after += 1
                events = self._history[after - self._compacted - 1]
                matching = tuple(event for event in events if event.key.startswith(prefix))
                if matching:
                    yield matching
                    if after < self._compacted:
                        raise Compacted(self._compacted)
            await bell.wait()

    async def grant(self, ttl_seconds: float) -> TimedLease:
        """A new lease."""
        self._check_open()
        lease = LeaseId(next(self._lease_ids))
        self._held[lease] = set()
        self._clocks.start(lease, ttl_seconds)
        return TimedLease(lease, ttl_seconds, self._clocks, self._end_lease)

    async def compact(self, revision: int) -> None:
        """Forget the history up to ``revision``."""
        self._check_open()
        revision = min(revision, self._revision)
        if revision > self._compacted:
            del self._history[: revision - self._compacted]
            self._compacted = revision

    async def close(self) -> None:
        """End the watches and the leases' clocks."""
        self._changes.close()
        await self._clocks.close()

    def _apply(self, ops: Sequence[Operation]) -> None:
        revision = self._revision + 1
        events = tuple(event for each in ops for event in self._change(each, revision))
        if events:
            self._revision = revision
            self._history.append(events)
            self._changes.ring()

    def _change(self, operation: Operation, revision: int) -> list[Event]:
        old = self._items.pop(operation.key, None)
        for held in self._held.values():
            held.discard(operation.key)
        if isinstance(operation, Delete):
            return [Event(operation.key, None, revision)] if old else []
        created = old.create_revision if old else revision
        self._items[operation.key] = Item(operation.key, operation.value, created, revision)
        if operation.lease is not None:
            self._held[operation.lease].add(operation.key)
        return [Event(operation.key, operation.value, revision)]

    async def _end_lease(self, lease: LeaseId) -> None:
        keys = self._held.pop(lease, set())
        self._apply([Delete(key) for key in sorted(keys)])

    def _modified(self, key: str) -> int:
        item = self._items.get(key)
        return item.mod_revision if item else 0

    def _check_open(self) -> None:
        if self._changes.closed:
            raise StoreUnavailable("the store is closed")
